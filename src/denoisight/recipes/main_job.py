"""The main job: train on labelled images, judge on held-out ones, report."""

from __future__ import annotations

import logging
from pathlib import Path

from .base import Recipe
from .launch import Trained, train
from .pages import write_run_report

log = logging.getLogger(__name__)


def train_and_report(
    recipe: Recipe,
    out: Path,
    *,
    resume: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    report: bool = True,
) -> Trained:
    """Run a recipe, then judge its best model on the data's test split; results and report lie in the run folder."""
    trained = train(recipe, out, resume=resume, overwrite=overwrite, quiet=quiet)
    if trained.is_main and report:
        page = write_run_report(out, out / "report.html", quiet)
        use = f"predict PHOTOS --task {recipe.tasks[0]}" if recipe.tasks else 'create --prompt "a red box"'
        log.info("Wrote %s and %s. Next: denoisight %s --model %s -o out", out / "model", page, use, out)
    return trained
