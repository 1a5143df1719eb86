"""What the studies of training share: arms with equal budgets, seeds, results as they come, tables with intervals.

An arm is a set of changes to one recipe. Every (arm, seed) trains from nothing on the same images, is scored on the
same validation and test images, and is a line of the study's results.jsonl; the same command goes on where it was
stopped. A training pass costs 3 units and a pass without gradients 1; all arms have the same number of units.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from studies import pool

STEPS = (1, 2, 4, 10)
"""Denoising steps that are tried; the clean estimate after each of the last number is scored, too."""


@dataclass(frozen=True)
class Arm:
    """Changes to the study's recipe. `units` is the cost of an image in training, 4 with an on-policy pass."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    units: int = 3


@dataclass(frozen=True)
class Judged:
    """The metric that decides for a task; `better` is -1 where a lower one is better."""

    metric: str
    better: int


@dataclass(frozen=True)
class Study:
    """Arms of one recipe, judged by the metrics of one or more tasks.

    `units`: training budget in units an image of a batch, so `units / arm.units` steps. An arm is compared with the one
    of `baselines` that has the first word of its name; `curves` names arms that are drawn. `val` and `test` count the
    images that are judged. `instructed`: asked by templates in place of the tasks' own prompts.
    """

    folder: Path
    recipe: Mapping[str, Any]
    arms: tuple[Arm, ...]
    judged: Mapping[str, Judged]
    units: int
    baselines: tuple[str, ...]
    curves: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    val: int = 128
    test: int = 256
    instructed: bool = False

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """Finished runs of arms that the study still has, at its own budget."""
        names = {arm.name for arm in self.arms}
        return [row for row in pool.rows(self.results) if row["arm"] in names and row["units"] == self.units]


def run(study: Study, data: Path, jobs: int | None = None) -> None:
    """Train and score what is missing, seed by seed, on `jobs` cores; each result is written when it is there."""
    done = {(row["arm"], row["seed"]) for row in study.rows()}
    missing = [(study, arm, seed, data) for seed in study.seeds for arm in study.arms if (arm.name, seed) not in done]
    print(f"{len(done)} runs are done, {len(missing)} to go.", flush=True)
    for row in pool.each(train_and_score, missing, jobs):
        pool.append(study.results, row)
        told = ", ".join(f"{task} {row['scores'][task]['val']}" for task in study.judged)
        print(f"{row['arm']}, seed {row['seed']}: {told}, {row['cpu_s']:.0f} s", flush=True)


def train_and_score(study: Study, arm: Arm, seed: int, data: Path) -> dict[str, Any]:
    """One run: validation means of each number of steps and of each step of the longest, test scores by image."""
    from denoisight.predict.load import load
    from denoisight.recipes.base import Recipe, override
    from denoisight.recipes.launch import train

    steps = study.units // arm.units
    recipe = override(Recipe.model_validate({**study.recipe, "data": str(data)}), dict(arm.changes))
    recipe = override(recipe, {"steps": steps, "seed": seed})
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder) / "run", quiet=True)
        seconds = time.process_time() - began
        model = load(Path(folder) / "run", device="cpu")
        scores = {task: score(study, model, data, task, judged) for task, judged in study.judged.items()}
    own = {"arm": arm.name, "seed": seed, "units": study.units, "steps": steps, "cpu_s": round(seconds, 1)}
    return {**own, "scores": scores}


def score(study: Study, model: Any, data: Path, task: str, judged: Judged) -> dict[str, Any]:
    """Means on validation and scores by image on test for each number of steps, and means at every step of the most."""
    scored: dict[str, Any] = {}
    for split, count in (("val", study.val), ("test", study.test)):
        finals, path = score_split(study, model, data, task, judged.metric, split, count)
        shown = {"val": lambda v: round(float(np.nanmean(v)), 5), "test": _rounded}[split]
        scored |= {split: {s: shown(v) for s, v in finals.items()}, f"{split}_path": _rounded(np.nanmean(path, 0))}
    return scored


def score_split(
    study: Study, model: Any, data: Path, task: str, metric: str, split: str, count: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By image: the metric of each number of steps, and [images, steps] of every step of the longest walk."""
    from denoisight.data.open import open_data, subset
    from denoisight.evaluate.own import own
    from denoisight.evaluate.steps import score_steps
    from denoisight.predict.options import Options
    from denoisight.recipes.judge import RANDOM, ask
    from denoisight.tasks import make_tasks

    reader = open_data(str(data), split, (make_tasks([task], ("any",))[0].truth,))
    reader = subset(reader, min(count, len(reader)))
    protocol, stream = own(reader, task, split), partial(ask, model, phrasing=RANDOM if study.instructed else "")
    walks = {n: score_steps(model, protocol, reader, steps=n, options=Options(batch=64), stream=stream) for n in STEPS}
    paths = {n: walk.per_image(metric)[0] for n, walk in walks.items()}
    return {str(n): path[:, -1] for n, path in paths.items()}, paths[STEPS[-1]]


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else float(f"{v:.4g}") for v in values]
