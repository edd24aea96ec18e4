"""Models for other programs: ONNX files (extra `onnx`), and scripts that need NumPy alone."""

from .onnx_file import export_onnx
from .script import export_script

__all__ = ["export_onnx", "export_script"]
