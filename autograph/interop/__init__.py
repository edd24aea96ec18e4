"""Models from and for other programs: ONNX files (extra `onnx`), repositories of Hugging Face's hub
(extra `hub`), torch's state dicts, and scripts that need NumPy alone."""

from .hub import from_pretrained, push_to_hub, save_pretrained
from .onnx_file import export_onnx
from .onnx_import import import_onnx
from .script import export_script
from .torch_files import load_torch, save_torch, torch_state

__all__ = [
    "export_onnx",
    "export_script",
    "from_pretrained",
    "import_onnx",
    "load_torch",
    "push_to_hub",
    "save_pretrained",
    "save_torch",
    "torch_state",
]
