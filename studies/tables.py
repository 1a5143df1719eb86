"""What is written about a study of arms: a table with intervals over seeds and images, and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from studies.arms import STEPS, Judged, Study

RESAMPLES = 2000
COLOURS = ("#2166ac", "#c4581a", "#22834d", "#8a4fb0", "#a8780c", "#b0305c")
DASHES = ("-", "--", ":")
Rows = Sequence[Mapping[str, Any]]


def write(study: Study, about: str) -> None:
    """README.md with a table for each task, and a figure of each, in the study's folder."""
    runs = {arm.name: [row for row in study.rows() if row["arm"] == arm.name] for arm in study.arms}
    runs = {name: sorted(rows, key=lambda row: row["seed"]) for name, rows in runs.items() if rows}
    if not runs:
        return
    lines = [
        *about.strip().splitlines(),
        "",
        "Test scores are under the number of denoising steps that is best on validation; change is against the arm",
        "without sampling and augmentation of the same kind of prediction; late loss is how much worse the last of",
        f"{STEPS[-1]} steps is than the best one. Brackets: 95 % bootstrap intervals over seeds and images. CPU s: of",
        "training, on one core.",
    ]
    for task in study.judged:
        lines += ["", *table(study, task, runs), "", f"![{task}: the arms, and the curves](figure-{task}.svg)"]
        draw(study, task, runs)
    (study.folder / "README.md").write_text("\n".join(lines) + "\n")


def table(study: Study, task: str, runs: Mapping[str, Rows]) -> list[str]:
    judged = study.judged[task]
    arrow = "↓" if judged.better < 0 else "↑"
    lines = [
        f"| arm | seeds | training steps | CPU s | steps | {task}, {judged.metric} {arrow} | change | late loss |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rows in runs.items():
        scored, base = Scored(judged, task, rows), runs.get(baseline(name, study))
        value = "{:.4f} [{:.4f}, {:.4f}]".format(*interval(scored.test()))
        change = ""
        if base and rows is not base:
            relative = interval(scored.test(), Scored(judged, task, base).test())
            change = "{:+.1f} % [{:+.1f}, {:+.1f}]".format(*(100 * x for x in relative))
        seconds = f"{np.mean([row['cpu_s'] for row in rows]):.0f}"
        cells = (name, len(rows), rows[0]["steps"], seconds, scored.steps(), value, change)
        lines.append("| " + " | ".join(map(str, cells)) + f" | {100 * scored.late_loss():.1f} % |")
    return lines


def baseline(name: str, study: Study) -> str:
    """The arm without sampling and augmentation of the same kind of prediction."""
    return next((base for base in study.baselines if name.split(",")[0] == base.split(",")[0]), "")


@dataclass(frozen=True)
class Scored:
    """The scores of one arm's seeds for one task."""

    judged: Judged
    task: str
    rows: Rows

    def steps(self) -> str:
        """The number of denoising steps with the best mean over seeds on validation images."""
        on_val = [row["scores"][self.task]["val"] for row in self.rows]
        means = {steps: np.mean([each[steps] for each in on_val]) for steps in on_val[0]}
        return max(means, key=lambda steps: self.judged.better * means[steps])

    def test(self, steps: str = "") -> np.ndarray:
        """Test scores [seeds, images] under the validated number of steps, or a given one."""
        return np.array([row["scores"][self.task]["test"][steps or self.steps()] for row in self.rows], dtype=float)

    def path(self, split: str = "test") -> np.ndarray:
        """Means over images after every step of the longest walk, [seeds, steps]."""
        return np.array([row["scores"][self.task][f"{split}_path"] for row in self.rows], dtype=float)
