"""Devices by name, what is said where none is there, and arrays that move."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from autograph import Tensor
from autograph.device import HOST, Device
from autograph.errors import DeviceError
from autograph.platforms import PLATFORMS

from .fresh import printed


@pytest.mark.parametrize("name", ["host", "cpu", HOST, Device.host()])
def test_the_host_has_two_names(name: str | Device) -> None:
    assert Device(name) is HOST
    assert HOST.is_host
    assert str(HOST) == "host"


@pytest.mark.parametrize("name", ["cuda", "cuda:0", Device.cuda(), Device.cuda(0)])
def test_a_cuda_device_has_two_names(name: str | Device) -> None:
    assert Device(name) is Device.cuda(0)
    assert str(Device(name)) == "cuda:0"
    assert repr(Device(name)) == "Device('cuda:0')"
    assert not Device(name).is_host


def test_devices_are_told_apart_by_index() -> None:
    assert Device("cuda:1") is not Device("cuda:0")
    assert Device("cuda:1").index == 1


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "host:0", "cpu:1", "", "CUDA"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="there is no device"):
        Device(name)


@pytest.mark.parametrize("device", [HOST, Device.cuda(1)])
def test_a_device_is_one_object_also_after_a_pickle(device: Device) -> None:
    assert device is pickle.loads(pickle.dumps(device)) is copy.deepcopy(device)


def test_an_array_of_no_platform_is_on_no_device() -> None:
    with pytest.raises(DeviceError, match="a memoryview is on no device"):
        Device.of(memoryview(b"x"))


def test_the_host_is_always_available() -> None:
    assert Device.available()[0] is HOST
    assert HOST.info().keys() == {"name", "cores"}
    free, total = HOST.memory()
    assert 0 < free <= total
    HOST.synchronize()


def test_putting_an_array_where_it_is_makes_no_copy() -> None:
    array = np.ones(3)

    assert HOST.put(array) is array
    tensor = Tensor(array)
    assert tensor.to("cpu") is tensor


def test_naming_a_cuda_device_imports_nothing() -> None:
    code = "import sys, autograph; autograph.Device('cuda:3'); print('cupy' in sys.modules)"

    assert printed(code) == "False\n"


MISSING = """
import sys, types
sys.modules["cupy"] = {cupy}
from autograph import Tensor
for call in (lambda: Tensor([1.0], device="cuda:0"), lambda: Tensor([1.0]).to("cuda")):
    try:
        call()
    except RuntimeError as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.mark.parametrize(("cupy", "says"), [
    ("None",  # an import of it fails
     "Device: a CUDA device needs CuPy, which cannot be imported "
     "(import of cupy halted; None in sys.modules)\n"
     "  for CUDA 13  pip install 'autograph-nn[cuda13]'\n"
     "  for CUDA 12  pip install 'autograph-nn[cuda12]'\n"),
    ("types.SimpleNamespace("
     "is_available=lambda: False, __version__='14.0.0', ndarray=type('ndarray', (), {}))",
     "Device: CuPy 14.0.0 is installed, but sees no CUDA device\n"
     "  check  nvidia-smi  and that the driver is not older than the CUDA of the wheel\n"),
])  # fmt: skip
def test_what_is_missing_for_a_device_is_named(cupy: str, says: str) -> None:
    assert f"DeviceError: {says}" * 2 == printed(MISSING.format(cupy=cupy))


def test_platforms_are_known_by_name() -> None:
    assert list(PLATFORMS)[:2] == ["host", "cuda"]


@pytest.mark.device
def test_a_tensor_goes_to_a_device_and_back() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    y = x.to("cuda:0")

    assert str(y.device) == "cuda:0"
    assert y.to("host").tolist() == x.tolist()
    assert y.T.to("host").tolist() == x.T.tolist()
    assert pickle.loads(pickle.dumps(y)).device is y.device


@pytest.mark.device
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="cuda:99 is not there"):
        Tensor([1.0], device="cuda:99")
