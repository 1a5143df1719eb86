"""The main job: train on labelled images, judge on held-out ones, report."""

from __future__ import annotations

import logging
from pathlib import Path

from .base import Recipe
from .launch import Trained, train
from .pages.run import write_run_report

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
    """Run a recipe, then judge its best model on the data's test split; results and report lie in the run folder. What
    only creates is not judged: `denoisight judge` does that beside real images."""
    trained = train(recipe, out, resume=resume, overwrite=overwrite, quiet=quiet)
    if trained.is_main and report and recipe.tasks:
        page = write_run_report(out, out / "report.html", quiet)
        use = f"predict PHOTOS --task {recipe.tasks[0]}"
        log.info("Wrote %s and %s. Next: denoisight %s --model %s -o out", out / "model", page, use, out)
    elif trained.is_main and report:
        use = f'create --prompt "a red box" --model {out} -o out'
        log.info("Wrote %s, which creates and perceives nothing. Next: denoisight %s", out / "model", use)
    return trained
