"""What the studies of training share: arms with equal budgets, seeds, results as they come, tables with intervals.

An arm is a set of changes to one recipe. Every (arm, seed) trains from nothing on the same images, is scored on the
same validation and test images, and is a line of the study's results.jsonl; the same command goes on where it was
stopped. A training pass costs 3 units and a pass without gradients 1; all arms have the same number of units.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

STEPS = (1, 2, 4, 10)
"""Denoising steps that are tried; the clean estimate after each of the last number is scored, too."""


@dataclass(frozen=True)
class Arm:
    """Changes to the study's recipe. `units` is the cost of an image in training, 4 with an on-policy pass."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    units: int = 3


@dataclass(frozen=True)
class Study:
    """Arms of one recipe. `units`: training budget in units an image of a batch, so `units / arm.units` steps.

    `better` is -1 where a lower metric is better. `val` and `test` count the images that are judged. An arm is compared
    with the one of `baselines` that has the first word of its name.
    """

    folder: Path
    recipe: Mapping[str, Any]
    arms: tuple[Arm, ...]
    task: str
    metric: str
    better: int
    units: int
    baselines: tuple[str, ...]
    curves: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    val: int = 128
    test: int = 256

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """Finished runs of arms that the study still has, at its own budget."""
        if not self.results.exists():
            return []
        names = {arm.name for arm in self.arms}
        rows = [json.loads(line) for line in self.results.read_text().splitlines()]
        return [row for row in rows if row["arm"] in names and row["units"] == self.units]


def run(study: Study, data: Path, jobs: int | None = None, only: Sequence[str] = ()) -> None:
    """Train and score what is missing, seed by seed, on `jobs` cores; each result is written when it is there."""
    done = {(row["arm"], row["seed"]) for row in study.rows()}
    missing = [(arm, seed) for seed in study.seeds for arm in study.arms if (arm.name, seed) not in done]
    missing = [(arm, seed) for arm, seed in missing if not only or arm.name in only]
    print(f"{len(done)} runs are done, {len(missing)} to go.", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs or os.cpu_count(), spawn, _one_thread) as pool:
        running = [pool.submit(train_and_score, study, arm, seed, data) for arm, seed in missing]
        for finished in as_completed(running):
            row = finished.result()
            with study.results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            best = min(row["val"].items(), key=lambda item: -study.better * item[1])
            print(
                f"{row['arm']}, seed {row['seed']}: {best[1]:.4f} in {best[0]} steps, {row['cpu_s']:.0f} s", flush=True
            )


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
    val, val_path = score(study, model, data, "val", study.val)
    test, test_path = score(study, model, data, "test", study.test)
    return {
        "arm": arm.name,
        "seed": seed,
        "units": study.units,
        "steps": steps,
        "cpu_s": round(seconds, 1),
        "val": {s: round(float(np.nanmean(v)), 5) for s, v in val.items()},
        "val_path": _rounded(np.nanmean(val_path, 0)),
        "test": {s: _rounded(v) for s, v in test.items()},
        "test_path": _rounded(np.nanmean(test_path, 0)),
    }


def score(study: Study, model: Any, data: Path, split: str, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By image: the metric of each number of steps, and [images, steps] of every step of the longest walk."""
    from denoisight.data.open import open_data, subset
    from denoisight.evaluate.own import own
    from denoisight.evaluate.run import count_image, scores_of
    from denoisight.predict.model import Options
    from denoisight.tasks import make_tasks

    truth = make_tasks([study.task], ("any",))[0].truth
    reader = open_data(str(data), split, (truth,))
    reader = subset(reader, min(count, len(reader)))
    protocol = own(reader, study.task, split)
    samples = [reader[i] for i in range(len(reader))]
    queries = [sample.asked(truth) for sample in samples]
    finals, path = {}, np.zeros(0)
    for steps in STEPS:
        options = Options(steps=steps, trajectory=steps == STEPS[-1], batch=64)
        rows = []
        for sample, answer in zip(samples, model.stream(queries, study.task, options), strict=True):
            stages = answer.trajectory or (answer.annotation,)
            counted = [count_image(stage, sample, protocol) for stage in stages]
            rows.append([float(scores_of(protocol)(counts)[study.metric]) for counts in counted])
        path = np.array(rows)
        finals[str(steps)] = path[:, -1]
    return finals, path


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else float(f"{v:.4g}") for v in values]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
