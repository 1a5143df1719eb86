"""From a name to a model."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, WeightsError
from ..models.embedded import SHIPPED, embedded_folder
from ..models.folder import open_folder, read_config
from ..models.known import KNOWN, find_source
from ..models.stock import is_stock
from .model import Model, task_of


def load(name: str | Path, device: str = "auto", dtype: str = "fp32", allow_pickle: bool = False) -> Model:
    """Open "embedded" or "embedded-create", a folder (of a model, of a run that holds one, or of a stock pipeline), a
    known name such as "sd-1.5", or a hub id "owner/name", the last two with "@revision" or not. A folder goes first.

    What is not in the hub's cache is downloaded, and its licence logged first. Weights are safetensors, unless
    `allow_pickle` is set and a folder has only pickles. Raises `WeightsError` (exit 5) saying what was looked for.
    """
    folder = find_folder(str(name), allow_pickle)
    try:
        told = read_config(folder).reads if (folder / "model.json").exists() else ()
        reads = {entry.name: task_of(entry).head.channels for entry in told}
        model = Model(open_folder(folder, reads, allow_pickle))
    except UsageError as error:
        raise WeightsError(f"{folder / 'model.json'} asks for what this version lacks: {error}") from error
    return model.to(device, dtype)


def absolute_name(name: str) -> str:
    """The same model for a process that runs in another folder."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if name not in SHIPPED and folder.exists() else name


def find_folder(name: str, allow_pickle: bool = False) -> Path:
    """Where the model of a name lies, which may take a download. Raises `WeightsError` where there is none."""
    if name in SHIPPED:
        return embedded_folder(name)
    folder, source = Path(name).expanduser(), find_source(name)
    if source and not folder.exists():
        # Only here: who opens a folder needs no client of the hub.
        from ..models.hub import fetch

        return fetch(source, allow_pickle)
    if (folder / "model" / "model.json").exists():
        return folder / "model"
    if not (folder / "model.json").exists() and not is_stock(folder):
        raise WeightsError(
            f"No model at {name!r}: expected {' or '.join(map(repr, SHIPPED))}, a folder with model.json, a diffusers "
            "folder of Marigold, Stable Diffusion or InstructPix2Pix, a run folder with model/, a hub id OWNER/NAME, "
            f"or one of {', '.join(KNOWN)}."
        )
    return folder
