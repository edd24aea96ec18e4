"""Words of other libraries, and what is written here instead: told where a name is unknown."""

from __future__ import annotations

from typing import Any

TENSOR = {
    "add_": "x += y, or  x[...] = x + y",
    "astype": "x.cast('f32')",
    "clamp": "x.clip(low, high)",
    "contiguous": "ops.copy(x)",
    "copy_": "x[...] = y",
    "cpu": "x.to('host')",
    "cuda": "x.to('cuda')",
    "data": "x.detach()",
    "dim": "x.ndim",
    "double": "x.cast('f64')",
    "element_size": "x.scalar_type.itemsize",
    "expand": "x.broadcast_to(shape)",
    "fill_": "x[...] = value",
    "float": "x.cast('f32')",
    "half": "x.cast('f16')",
    "bfloat16": "x.cast('bf16')",
    "int": "x.cast('i32')",
    "is_cuda": "not x.device.is_host",
    "long": "x.cast('i64')",
    "masked_fill_": "x.masked_fill(mask, value)",
    "mul_": "x *= y",
    "numel": "x.size",
    "permute": "x.permute_dims(0, 2, 1)",
    "ravel": "x.reshape(-1)",
    "requires_grad_": "x.requires_grad = True",
    "retain_grad": "ag.grad(loss, [x])",
    "sub_": "x -= y",
    "t": "x.T",
    "type": "x.cast('f32')",
    "unsqueeze": "x.expand_dims(axis), or  x[None]",
    "view": "x.reshape(shape)",
    "zero_": "x[...] = 0",
    "zero_grad": "x.grad = None",
}
LAYER = {
    "add_module": "a field:  name: Dense = Dense.builder(...)",
    "bfloat16": "model.cast('bf16')",
    "compile": "ag.fit(model, optimizer, train)",
    "cpu": "model.to('host')",
    "cuda": "model.to('cuda')",
    "eval": "with ag.no_grad(): ...,  or  with ag.training(False): ...",
    "fit": "for report in ag.fit(model, optimizer, train, test): ...",
    "float": "model.cast('f32')",
    "half": "model.cast('f16')",
    "load_state_dict": "interop.load_torch(model, state), or  Model.load(path)",
    "predict": "with ag.no_grad(): y = model(x)",
    "register_buffer": "a field of the type Buffer",
    "register_forward_hook": "model.on_forward('path', hook)",
    "register_parameter": "a field of the type Parameter",
    "state_dict": "model.named_parameters(), or  interop.torch_state(model)",
    "step": "model.update(optimizer)",
    "summary": "layers.summary(model)",
    "train": "nothing: layers train where ops are recorded, or  with ag.training(True): ...",
    "zero_grad": "nothing: model.update(optimizer) takes the gradients",
}
OPTIMIZER = {
    "param_groups": "groups={'*.bias': {'weight_decay': 0.0}}  where it is made",
    "state_dict": "ag.save(path, model, optimizer)",
    "step": "model.update(optimizer)",
    "zero_grad": "nothing: model.update(optimizer) takes the gradients",
}
PACKAGE = {
    "allclose": "np.allclose(x.numpy(), y.numpy())",
    "cat": "ag.concat([a, b])",
    "cuda": "ag.Device.cuda(0)",
    "jit": "ag.capture(step)",
    "losses": "ag.ops.mse_loss and others of autograph.ops",
    "manual_seed": "build(seed=0), fit(seed=0): there is no global seed",
    "nn": "autograph.layers, and autograph.ops for functions",
    "optimizers": "autograph.optim",
    "rand": "ag.random_uniform(shape, seed=0)",
    "randn": "ag.random_normal(shape, seed=0)",
    "random": "ag.random_normal(shape, seed=0), ag.random_uniform(shape, seed=0)",
    "value_and_grad": "loss.backward(), or  ag.grad(loss, [x])",
    "vmap": "ops of batches: every op takes leading axes",
}


def unknown(owner: str, name: str, words: dict[str, str], place: Any) -> AttributeError:
    """The error of a name that `owner` has not."""
    meant = words.get(name)
    told = f"{owner} has no {name}" + (f"\n  write  {meant}" if meant else "")
    return AttributeError(told, name=name, obj=place)
