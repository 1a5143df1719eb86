"""What is written about a study of arms: a table with intervals over seeds and images, and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from studies.arms import STEPS, Arm, Study

RESAMPLES = 2000
COLOURS = ("#2166ac", "#c4581a", "#22834d", "#8a4fb0", "#a8780c", "#b0305c")
Rows = Sequence[Mapping[str, Any]]


def write(study: Study, about: str) -> None:
    """README.md with its table, and figure.svg, in the study's folder."""
    runs = {arm.name: [row for row in study.rows() if row["arm"] == arm.name] for arm in study.arms}
    runs = {name: rows for name, rows in runs.items() if rows}
    if not runs:
        return
    arms = [arm for arm in study.arms if arm.name in runs]
    draw(study, arms, runs)
    sign = "lower" if study.better < 0 else "higher"
    lines = [
        *about.strip().splitlines(),
        "",
        f"Test {study.metric} ({sign} is better) under the number of denoising steps that is best on validation, its",
        "change against the arm without sampling and augmentation of the same kind of prediction, and the late loss:",
        f"how much worse the last of {STEPS[-1]} steps is than the best one. Brackets: 95 % bootstrap intervals over",
        "seeds and images.",
        "",
        f"| arm | seeds | training steps | CPU s | steps | {study.metric} | change | late loss |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(line(study, arm, runs) for arm in arms),
        "",
        "![The arms, and the error after each denoising step](figure.svg)",
    ]
    (study.folder / "README.md").write_text("\n".join(lines) + "\n")


def line(study: Study, arm: Arm, runs: Mapping[str, Rows]) -> str:
    rows, base = runs[arm.name], runs.get(baseline(arm, study))
    value = "{:.4f} [{:.4f}, {:.4f}]".format(*interval(scores(study, rows)))
    change = ""
    if base and rows is not base:
        change = "{:+.1f} % [{:+.1f}, {:+.1f}]".format(
            *(100 * x for x in interval(scores(study, rows), scores(study, base)))
        )
    seconds = np.mean([row["cpu_s"] for row in rows])
    late = f"{100 * late_loss(study, rows):.1f} %"
    cells = (arm.name, len(rows), rows[0]["steps"], f"{seconds:.0f}", chosen_steps(study, rows), value, change, late)
    return "| " + " | ".join(map(str, cells)) + " |"


def baseline(arm: Arm, study: Study) -> str:
    """The arm without sampling and augmentation of the same kind of prediction."""
    return next((name for name in study.baselines if arm.name.startswith(name.split(",")[0])), "")


def draw(study: Study, arms: Sequence[Arm], runs: Mapping[str, Rows]) -> None:
    """Every arm's score with its interval, and the curves over denoising steps of those in `study.curves`."""
    figure = Figure(figsize=(11, 1.2 + 0.2 * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, arm in enumerate(arms):
        middle, low, high = interval(scores(study, runs[arm.name]))
        colour = COLOURS[0] if arm.name in study.baselines else COLOURS[1]
        left.plot([low, high], [place, place], color=colour, linewidth=1.2)
        left.plot(middle, place, "o", color=colour, markersize=4)
    left.set_yticks(range(len(arms)), [arm.name for arm in arms], fontsize=7)
    left.invert_yaxis()
    left.set_xlabel(f"test {study.metric}")
    left.grid(axis="x", linewidth=0.4)
    shown = [name for name in study.curves if name in runs]
    for name, colour in zip(shown, COLOURS * 3, strict=False):
        paths = np.array([row["test_path"] for row in runs[name]], dtype=float)
        steps = np.arange(1, paths.shape[1] + 1)
        right.plot(steps, paths.mean(0), color=colour, linewidth=1.3, label=name)
        right.fill_between(steps, paths.min(0), paths.max(0), color=colour, alpha=0.15, linewidth=0)
    right.set_xlabel(f"denoising step, of {STEPS[-1]}")
    right.set_ylabel(f"test {study.metric} (band: least and most of the seeds)")
    right.grid(linewidth=0.4)
    right.legend(fontsize=7, frameon=False)
    figure.savefig(study.folder / "figure.svg", metadata={"Date": None})


def chosen_steps(study: Study, rows: Sequence[Mapping[str, Any]]) -> str:
    """The number of steps with the best mean over seeds on validation images."""
    means = {s: np.mean([row["val"][s] for row in rows]) for s in rows[0]["val"]}
    return max(means, key=lambda s: study.better * means[s])


def scores(study: Study, rows: Sequence[Mapping[str, Any]], steps: str | None = None) -> np.ndarray:
    """Test scores [seeds, images] under the arm's own validated number of steps, or a given one."""
    steps = steps or chosen_steps(study, rows)
    return np.array([row["test"][steps] for row in sorted(rows, key=lambda row: row["seed"])], dtype=float)


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


def late_loss(study: Study, rows: Sequence[Mapping[str, Any]]) -> float:
    """How much worse the last step of the longest walk is than its best one, relative; the best by validation."""
    best = int(np.argmax(study.better * np.mean([row["val_path"] for row in rows], 0)))
    path = np.mean([row["test_path"] for row in rows], 0)
    return float(study.better * (path[best] - path[-1]) / path[best])
