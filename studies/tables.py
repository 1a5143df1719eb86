"""What is written about a study of arms: a table with intervals over seeds and images, and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
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
        f"{STEPS[-1]} steps is than the best one. Scores are means over images. Brackets: 95 % bootstrap intervals",
        "over seeds and images; of three seeds such an interval is too narrow (by seeds alone it holds the mean in",
        "three cases of four), and frames of one clip count as independent. CPU s: of training, on one core.",
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
        lines.append("| " + " | ".join(map(str, cells)) + f" | {_percent(scored.late_loss())} |")
    return lines


def _percent(share: float) -> str:
    """Without the sign of a zero; nothing where a score is zero already."""
    return "" if math.isnan(share) else f"{round(100 * share, 1) + 0.0:.1f} %"


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

    def late_loss(self) -> float:
        """How much worse the last step of the longest walk is than its best one by validation, relative."""
        best = int((self.judged.better * self.path("val").mean(0)).argmax())
        path = self.path().mean(0)
        return float(self.judged.better * (path[best] - path[-1]) / path[best]) if path[best] else math.nan


def draw(study: Study, task: str, runs: Mapping[str, Rows]) -> None:
    """Every arm's score with its interval, and the curves over denoising steps of those in `study.curves`."""
    judged = study.judged[task]
    figure = Figure(figsize=(11, max(3.0, 1.2 + 0.2 * len(runs))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, (name, rows) in enumerate(runs.items()):
        middle, low, high = interval(Scored(judged, task, rows).test())
        colour = COLOURS[name not in study.baselines]
        left.plot([low, high], [place, place], color=colour, linewidth=1.2)
        left.plot(middle, place, "o", color=colour, markersize=4)
    left.set_yticks(range(len(runs)), list(runs), fontsize=7)
    left.invert_yaxis()
    left.set_xlabel(f"{task}: test {judged.metric}")
    left.grid(axis="x", linewidth=0.4)
    for place, name in enumerate(name for name in study.curves if name in runs):
        paths, colour = Scored(judged, task, runs[name]).path(), COLOURS[place % len(COLOURS)]
        steps, dash = np.arange(1, paths.shape[1] + 1), DASHES[place // len(COLOURS)]
        right.plot(steps, paths.mean(0), color=colour, linewidth=1.3, label=name, linestyle=dash)
        right.fill_between(steps, paths.min(0), paths.max(0), color=colour, alpha=0.12, linewidth=0)
    right.set_xlabel(f"denoising step, of {STEPS[-1]}")
    right.set_ylabel(f"test {judged.metric} (band: least and most of the seeds)")
    right.grid(linewidth=0.4)
    if right.get_lines():
        right.legend(fontsize=7, frameon=False)
    with rc_context({"svg.hashsalt": study.folder.name}):  # alike whenever it is drawn
        figure.savefig(study.folder / f"figure-{task}.svg", metadata={"Date": None})


def interval(values: np.ndarray, against: np.ndarray | None = None) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over seeds and images [seeds, images]; of the relative change if `against`.

    Images are the same in all arms and are drawn in common; seeds are drawn for each arm.
    """
    draw = np.random.default_rng(0)
    estimates = []
    for _ in range(RESAMPLES):
        images = draw.integers(values.shape[1], size=values.shape[1])
        own = np.nanmean(values[draw.integers(len(values), size=len(values))][:, images])
        if against is not None:
            own = own / np.nanmean(against[draw.integers(len(against), size=len(against))][:, images]) - 1
        estimates.append(own)
    low, high = np.quantile(estimates, [0.025, 0.975])
    middle = np.nanmean(values) if against is None else np.nanmean(values) / np.nanmean(against) - 1
    return float(middle), float(low), float(high)
