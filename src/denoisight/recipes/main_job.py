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
        log.info(
            "Wrote %s and %s. Next: denoisight predict PHOTOS --model %s --task %s -o out",
            out / "model",
            page,
            out,
            recipe.tasks[0],
        )
    return trained
