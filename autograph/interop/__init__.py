"""Models for other programs: ONNX files (extra `onnx`), scripts that need NumPy alone, and torch's
state dicts, which are read as well."""

from .onnx_file import export_onnx
from .script import export_script
from .torch_files import load_torch, save_torch, torch_state

__all__ = ["export_onnx", "export_script", "load_torch", "save_torch", "torch_state"]
