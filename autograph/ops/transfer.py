"""Moving a tensor to another device; its gradient moves back."""

from ..backends import CUPY, NUMPY
from ..device import Device
from ..op import Op
from ..outline import Outline

transfer = Op("transfer", "x", view=True)


@transfer.outlined_by
def transfer_outline(x, *, device):
    return Outline(x.shape, x.scalar_type, Device(device))


@transfer.kernel(NUMPY, CUPY, halves=True)
def transfer_arrays(x, *, device):
    return Device(device).put(x)


@transfer.gradient("x")
def transfer_dx(y, x, *, device):
    before = Device.of(x) if not hasattr(x, "device") or not hasattr(x, "outline") else x.device
    return lambda dy: transfer(dy, device=before)


@transfer.sampled_by
def transfer_samples(rng):
    yield (rng.normal(size=(2, 3)),), {"device": "host"}
