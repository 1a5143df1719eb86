"""What a run's folder says about the run: its recipe, where it ran, and what its model is."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from ..data.open import folder_of
from ..data.readers import Reader
from ..errors import UsageError
from ..runtime import versions, write_json, write_text
from .base import Recipe

log = logging.getLogger(__name__)

RECIPE = "config.yaml"


def claim(out: Path, recipe: Recipe, resume: str | None, overwrite: bool) -> None:
    """Make the run's folder, or refuse one that holds another run."""
    used = out.exists() and any(out.iterdir())
    if used and not resume and not overwrite:
        raise UsageError(f"{out} is not empty; add --resume to go on with it or --overwrite to replace it.")
    if used and overwrite and not resume:
        pictures = recipe.self_teaching.pictures
        remove_run(out, RECIPE, [recipe.model, folder_of(recipe.data), pictures and folder_of(pictures)])
    write_text(out / ".gitignore", "*\n")


def remove_run(out: Path, mark: str, needed: Iterable[Path | str | None]) -> None:
    """Raises `UsageError` where `out` holds something, but no file `mark` that a run of ours begins with, or holds what
    is `needed` for what shall replace it."""
    if not (out / mark).is_file() and any(path.name != ".gitignore" for path in out.iterdir()):
        raise UsageError(f"{out} holds other things than a run of this kind; choose another folder.")
    for path in needed:
        if path and Path(path).exists() and Path(path).resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{path}, which is needed, lies in {out} and would be removed; choose another folder.")
    shutil.rmtree(out)


def describe(recipe: Recipe, out: Path, reader: Reader, held_out: Reader, device: torch.device) -> None:
    """Write down what is run, and say it in the first line."""
    write_text(out / RECIPE, recipe.to_yaml())
    write_json(
        out / "env.json",
        {
            "versions": versions(),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "command": sys.argv,
        },
    )
    log.info(
        "device %s, %d threads, seed %d, %d training and %d validation images, into %s",
        *(device, torch.get_num_threads(), recipe.seed, len(reader), len(held_out), out),
    )
    for note in reader.notes:
        log.info("%s", note)


def is_scenes(data: str) -> bool:
    """Whether the data are procedural. A folder of that name goes first, as in `open_data`; none need be there."""
    return data.partition(":")[0] == "scenes" and not Path(data).is_dir()


def data_name(data: str) -> str:
    """What the data are called, without telling where they lie."""
    return data if is_scenes(data) else Path(data).name


def card(recipe: Recipe, scores: dict[str, float], step: int) -> str:
    """The model card: what the folder is and how to use it."""
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in scores.items() if name != "badness")
    learnt = ", ".join(recipe.tasks) or "create"
    use = 'denoisight.create_images(model, ["a red box"])'
    if recipe.tasks:
        use = f'model.predict("photo.jpg", task="{recipe.tasks[0]}").save("out")'
    return (
        f"---\nlibrary_name: denoisight\ntags: [diffusion, {learnt}]\n---\n"
        f"# {learnt} by {recipe.route}\n\n"
        f"Trained on {data_name(recipe.data)} for {step} steps, seed {recipe.seed}.\n\n"
        f"| validation | |\n|---|---|\n{rows}\n\n"
        f'```python\nimport denoisight\n\nmodel = denoisight.load("FOLDER")\n{use}\n```\n'
    )
