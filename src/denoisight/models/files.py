"""The files of a model's folder, here or on the hub: which are opened, whether they are whole, how to get one again."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import WeightsError, shortlist

COMPONENTS = ("unet", "vae", "text_encoder")
DESCRIPTIONS = (
    "model_index.json",
    "model.json",
    *(f"{component}/*.json" for component in COMPONENTS),
    "scheduler/*.json",
    "tokenizer/*.json",
    "tokenizer/*.txt",
)
"""Patterns of the small files that are opened."""
OURS = ("text.safetensors", "heads.safetensors")
"""Weights that lie beside the components in a folder that denoisight saved."""

_WEIGHTS = re.compile(
    r"(diffusion_pytorch_|pytorch_)?model(\.(?P<variant>\w+))?(-\d+-of-(?P<shards>\d+))?\.(?P<kind>safetensors|bin)"
)


@dataclass(frozen=True)
class Weights:
    """The files that are taken for one component; `variant` is "fp16" and the like."""

    names: tuple[str, ...]
    variant: str | None
    pickled: bool


def choose(place: object, names: Iterable[str], allow_pickle: bool, remedy: str) -> Weights:
    """Of the files in a component's folder, those that hold its weights: safetensors before pickles, the plain ones
    (which diffusers opens, too) before fp16 and other variants, one file before shards.

    Raises `WeightsError` naming `place` where there are none (with the `remedy`), or pickles that are not allowed.
    """
    names = sorted(names)
    found: dict[tuple[bool, str, int], list[str]] = defaultdict(list)
    for name in names:
        if match := _WEIGHTS.fullmatch(name):
            found[match["kind"] == "bin", match["variant"] or "", int(match["shards"] or 0)].append(name)
    whole = {key: files for key, files in found.items() if len(files) == max(key[2], 1)}
    if not whole:
        raise WeightsError(
            f"{place} holds no whole weights in safetensors (found {shortlist(names) or 'nothing'}); {remedy}."
        )
    best = min(whole, key=lambda key: (key[0], key[1] != "", key[1] != "fp16", key))
    pickled, variant, _ = best
    if pickled and not allow_pickle:
        raise WeightsError(
            f"{place} holds only pickles ({shortlist(whole[best])}), which can hide code; if you trust their maker, "
            "open them with --allow-pickle (in Python: allow_pickle=True)."
        )
    return Weights(tuple(whole[best]), variant or None, pickled)


def needed(root: object, names: Collection[str], allow_pickle: bool) -> list[str]:
    """Of all files below `root`, which is a folder or a hub id, those that opening it takes.

    Raises `WeightsError` where it is no model's folder, or lacks weights.
    """
    if not {"model_index.json", "model.json"} & set(names):
        raise WeightsError(f"{root} holds neither model_index.json nor model.json, so it is no folder of a model.")
    taken = [name for name in names if name in OURS or any(fnmatch(name, pattern) for pattern in DESCRIPTIONS)]
    for component in COMPONENTS if "model_index.json" in names else ("unet",):
        inside = [name.removeprefix(f"{component}/") for name in names if name.startswith(f"{component}/")]
        chosen = choose(f"{root}/{component}", inside, allow_pickle, "give another folder or id")
        taken += [f"{component}/{name}" for name in chosen.names]
    return taken


def listing(folder: Path) -> list[str]:
    """Every file below a folder, as the hub names it; links that lead nowhere are left out."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def check_whole(path: Path) -> None:
    """Raises `WeightsError` for a safetensors file that is shorter than its header says, or none."""
    try:
        with safe_open(path, "pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is truncated or damaged; {again(path)}.") from error


def snapshot_of(path: Path) -> tuple[str, str] | None:
    """(hub id, commit) of the cached snapshot that a file or folder belongs to, if it lies in one."""
    for folder in (path.absolute(), *path.absolute().parents):
        owner, _, name = folder.parent.parent.name.removeprefix("models--").partition("--")
        if name and folder.parent.name == "snapshots":
            return f"{owner}/{name}", folder.name
    return None


def again(path: Path) -> str:
    """How to get a file or a component's folder once more."""
    cached = snapshot_of(path)
    if cached is None:
        return "download or copy it again"
    name, commit = cached
    inside = path.absolute().as_posix().partition(f"/snapshots/{commit}/")[2]
    which = inside if path.suffix else f'--include "{inside}/*"'
    return f"get it again with: hf download {name} {which} --revision {commit} --force-download"
