"""Hugging Face's hub: models go there and come back, with a stand-in for its package."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autograph.errors import CheckpointError
from autograph.interop import from_pretrained, push_to_hub, save_pretrained
from examples.mnist.lenet5 import LeNet5


def test_a_folder_of_the_hub_is_read_back(tmp_path: Path) -> None:
    model = LeNet5.build(seed=5)

    save_pretrained(tmp_path / "lenet5", model)

    held = {each.name for each in (tmp_path / "lenet5").iterdir()}
    assert {"model.safetensors", "config.json", "README.md"} == held
    card = (tmp_path / "lenet5" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: autograph")
    again = from_pretrained(tmp_path / "lenet5")
    assert model.describe() == again.describe()
    np.testing.assert_array_equal(again.dense3.bias.numpy(), model.dense3.bias.numpy())  # type: ignore[attr-defined]


class Hub(types.ModuleType):
    """The package as far as it is used, its repositories folders."""

    def __init__(self, root: Path) -> None:
        super().__init__("huggingface_hub")
        self.root, self.HfApi = root, lambda: self

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        (self.root / repository).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: str) -> str:
        for each in Path(folder_path).iterdir():
            (self.root / repo_id / each.name).write_bytes(each.read_bytes())
        return f"https://huggingface.co/{repo_id}"

    def hf_hub_download(self, repository: str, file: str, *, revision: str | None) -> str:
        path = self.root / repository / file
        if not path.exists():
            raise OSError(f"404: no {repository} at {revision}")
        return str(path)


def test_models_go_to_the_hub_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path))
    model = LeNet5.build(seed=6)

    assert "https://huggingface.co/somebody/lenet5" == push_to_hub("somebody/lenet5", model)
    again = from_pretrained("somebody/lenet5")

    np.testing.assert_array_equal(again.dense3.bias.numpy(), model.dense3.bias.numpy())  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="404: no somebody/other at None"):
        from_pretrained("somebody/other")


def test_what_is_no_repository_is_refused_without_a_question(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder, and no repository of the hub"):
        from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        from_pretrained(tmp_path)


def test_the_calls_of_the_hub_are_those_of_the_package() -> None:
    """The signatures that the stand-in above stands for."""
    import inspect

    hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

    def has(function: Any, *names: str) -> bool:
        return set(names) <= set(inspect.signature(function).parameters)

    assert has(hub.HfApi.create_repo, "repo_id", "private", "exist_ok")
    assert has(hub.HfApi.upload_folder, "repo_id", "folder_path")
    assert has(hub.hf_hub_download, "repo_id", "filename", "revision")
