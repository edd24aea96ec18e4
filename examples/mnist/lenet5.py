"""LeNet5, as LeCun, Bottou, Bengio and Haffner drew it in 1998, with relu and max pooling."""

from autograph.layers import Conv2, Dense, Flatten, Layer, MaxPool2, Relu, sequential


@sequential(input=(1, 28, 28))
class LeNet5(Layer):
    """Images (N, 1, 28, 28) -> class scores (N, 10)."""

    conv1: Conv2 = Conv2.builder(outputs=6, filter=5)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    conv2: Conv2 = Conv2.builder(outputs=16, filter=5)
    relu2: Relu
    pool2: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=128)
    relu3: Relu
    dense2: Dense = Dense.builder(outputs=84)
    relu4: Relu
    dense3: Dense = Dense.builder(outputs=10, bias=True)
