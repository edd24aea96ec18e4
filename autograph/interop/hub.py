"""Hugging Face's hub (extra `hub`): models in the layout of its repositories, from a folder or the
hub itself, and to it.

A repository holds `model.safetensors`, a checkpoint as any other, which describes its model;
`config.json`, which says the same to those who look for one; and `README.md`, its card. Folders
need no package and no network.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..atomic import write_whole
from ..checkpoint import load, save
from ..device import HOST, Device
from ..errors import CheckpointError
from ..imports import needed
from ..layers import Layer
from ..scalar_type import ScalarType

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
EXTRA = "'autograph-nn[hub]'"


def save_pretrained(folder: str | Path, model: Layer, *, card: str | None = None) -> None:
    """Write a model as the folder of a repository; a card of its own in place of the plain one."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    save(place / WEIGHTS, model)
    name = type(model).__name__
    told = {"library_name": "autograph", "architectures": [name], "model": model.describe()}
    write_whole(place / CONFIG, [json.dumps(told, indent=2, ensure_ascii=False).encode()])
    text = _card(model) if card is None else card
    write_whole(place / CARD, [text.encode()])


def from_pretrained(
    source: str | Path,
    *,
    layers: Iterable[type[Layer]] = (),
    revision: str | None = None,
    device: Device | str = HOST,
    scalar_type: ScalarType | str | None = None,
) -> Layer:
    """The model of a folder, or of a repository of the hub, OWNER/NAME, at a revision.

    `layers` are own classes that the model names. Nothing that is read is ever executed.
    """
    place = Path(source)
    if place.is_dir():
        file = place / WEIGHTS
        if not file.exists():
            held = ", ".join(sorted(each.name for each in place.iterdir())[:8]) or "nothing"
            raise CheckpointError(
                f"from_pretrained: {place} has no {WEIGHTS}\n  it holds  {held}\n"
                f"  write it with  save_pretrained(folder, model)"
            )
    else:
        file = Path(_fetched(str(source), revision))
    return load(file, layers=layers, device=device, scalar_type=scalar_type)


def push_to_hub(
    repository: str, model: Layer, *, card: str | None = None, private: bool = False
) -> str:
    """Put a model into a repository of the hub, OWNER/NAME, made if it is not there; its address.

    The token is the one that `hf auth login` or HF_TOKEN has given.
    """
    hub = needed("huggingface_hub", "push_to_hub", EXTRA)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(folder, model, card=card)
        api = hub.HfApi()
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repository, folder_path=folder))
        except Exception as error:  # of the network, the service, or the token
            raise _refused("push_to_hub", repository, error) from error


def _fetched(repository: str, revision: str | None) -> str:
    if repository.count("/") != 1 or repository.startswith((".", "/")):
        raise CheckpointError(
            f"from_pretrained: {repository} is no folder, and no repository of the hub\n"
            f"  write a folder, or  OWNER/NAME"
        )
    hub = needed("huggingface_hub", "from_pretrained", EXTRA)
    try:
        return str(hub.hf_hub_download(repository, WEIGHTS, revision=revision))
    except Exception as error:  # of the network, the service, or the name
        raise _refused("from_pretrained", repository, error) from error


def _refused(caller: str, repository: str, error: Exception) -> CheckpointError:
    why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return CheckpointError(
        f"{caller}: {repository}: {why}\n  look at its name, the network, and  hf auth whoami"
    )


def _card(model: Layer) -> str:
    return (
        "---\nlibrary_name: autograph\n---\n\n"
        f"# {type(model).__name__}\n\n"
        f"{model.parameter_count:,} parameters in {model.scalar_type}.\n\n"
        "```python\nfrom autograph.interop import from_pretrained\n\n"
        'model = from_pretrained("OWNER/NAME")  # or this folder\n```\n'
    )
