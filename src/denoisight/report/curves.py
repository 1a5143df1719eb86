"""Curves and bars as SVG text that stands inside an HTML page and takes the page's colours.

Every colour is written as `var(--name, #rrggbb)`: the page may set it, for dark screens say; alone it is the
light one. The same input gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import stdtrit

from .tables import Arm, Better, format_score, is_known

INK, FAINT, GRID = "#33383f", "#6b727c", "#d5d9de"
LINES = ("#2166ac", "#c4581a", "#22834d", "#8a4fb0", "#a8780c", "#b0305c")
THEME = {INK: "--ink", FAINT: "--faint", GRID: "--grid", **{c: f"--line-{i}" for i, c in enumerate(LINES)}}
"""The colours of light pages and the style variables that may replace them."""

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "legend.frameon": False,
}
WIDTH_IN, HEIGHT_IN = 4.6, 2.7


def learning_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> str:
    """The value `name` of each run's records (as in `metrics.jsonl`) against their "step".

    More than 100 points are drawn faintly under their running mean over a twentieth of them. The axis is
    logarithmic where positive values span more than a factor of 20.
    """
    points = {run: _points(records, name) for run, records in runs.items()}
    values = np.concatenate([y for _, y in points.values()]) if points else np.zeros(0)
    with _style(name):
        figure, axes = _canvas("training step", name)
        for (run, (steps, raw)), colour in zip(points.items(), _colours(len(points)), strict=True):
            if len(raw) > 100:
                axes.plot(steps, raw, color=colour, linewidth=0.6, alpha=0.3)
            marker = "o" if len(raw) < 25 else None
            axes.plot(steps, _smooth(raw), color=colour, linewidth=1.5, marker=marker, markersize=3, label=run)
        if values.size and values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        return _finish(figure, axes, len(points) > 1)


def denoising_curve(
    curves: Mapping[str, Float[np.ndarray, "_ _"]], metric: str, better: Better, best: bool = True
) -> str:
    """The metric after each denoising step: the mean over items and its 95 % interval (Student's t).

    `curves` holds [items, steps] for each arm; items are images or seeds, and those with a value that is not
    finite are left out. A ring marks each arm's best step, unless `best` is false.
    """
    with _style(metric):
        figure, axes = _canvas("denoising step", metric)
        for (arm, values), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            whole = values[np.isfinite(values).all(axis=1)]
            if not len(whole):
                continue
            steps, mean = np.arange(1, whole.shape[1] + 1), whole.mean(axis=0)
            wide = stdtrit(len(whole) - 1, 0.975) if len(whole) > 1 else 0.0
            error = wide * whole.std(axis=0, ddof=min(len(whole) - 1, 1)) / np.sqrt(len(whole))
            axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.18, linewidth=0)
            axes.plot(steps, mean, color=colour, linewidth=1.5, marker="o", markersize=2.5, label=arm)
            if best:
                ring = int(mean.argmin() if better == "lower" else mean.argmax())
                axes.plot(steps[ring], mean[ring], "o", color=colour, markersize=8, fillstyle="none")
        axes.locator_params(axis="x", integer=True)
        return _finish(figure, axes, len(curves) > 1)


def lines(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str) -> str:
    """(x, y) of each arm as a plain line."""
    with _style(y_label):
        figure, axes = _canvas(x_label, y_label)
        for (arm, (x, y)), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            axes.plot(x, y, color=colour, linewidth=1.5, marker="o", markersize=2.5, label=arm)
        return _finish(figure, axes, len(curves) > 1)


def bars(arms: Sequence[Arm], metric: str) -> str:
    """One metric of several arms as horizontal bars from zero with their intervals; baselines are faint."""
    known = [(arm, arm.scores[metric]) for arm in arms if metric in arm.scores]
    with _style(metric):
        figure, axes = _canvas(metric, "", height_in=0.62 + 0.34 * max(len(known), 1))
        for row, (arm, score) in enumerate(known):
            length = score.value if is_known(score.value) else 0.0
            axes.barh(row, length, 0.62, color=FAINT if arm.baseline else LINES[0], alpha=0.75)
            if is_known(score.low) and is_known(score.high):
                axes.plot([score.low, score.high], [row, row], color=INK, linewidth=1.4)
            axes.text(1.03, row, format_score(score), va="center", transform=axes.get_yaxis_transform())
        names = [arm.name + (" (partial)" if arm.partial else "") for arm, _ in known]
        axes.set_yticks(range(len(known)), names, color=INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return _finish(figure, axes, labelled=False)


def _points(records: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(record["step"], record[name]) for record in records if record.get(name) is not None]
    steps, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    known = np.isfinite(values)
    return steps[known], values[known]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over a twentieth of the points, over fewer at both ends; few points stay as they are."""
    half = len(values) // 40 if len(values) > 100 else 0
    total = np.concatenate([[0.0], values.cumsum()])
    index = np.arange(len(values))
    start, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (total[end] - total[start]) / (end - start)


def _colours(count: int) -> list[str]:
    return [LINES[i % len(LINES)] for i in range(count)]


def _style(salt: str) -> AbstractContextManager[None]:
    return rc_context({**STYLE, "svg.hashsalt": salt})


def _canvas(x_label: str, y_label: str, height_in: float = HEIGHT_IN) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes


def _finish(figure: Figure, axes: Axes, labelled: bool) -> str:
    if labelled:
        axes.legend()
    file = StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _bare(file.getvalue())


def _bare(svg: str) -> str:
    """Without what a page does not need: prologue, namespaces, metadata, styles, names, fonts, fixed size."""
    box = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index("</metadata>") + len("</metadata>") :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;]*;", "", body)
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', body))
    body = re.sub(r' id="([\w.-]+)"', lambda m: m.group() if m.group(1) in used else "", body)
    body = re.sub(r"(?<=: )#[0-9a-f]{6}", lambda m: _themed(m.group()), body)
    return f"<svg {box.group() if box else ''}>" + re.sub(r"\s*\n\s*", " ", body).strip()


def _themed(colour: str) -> str:
    return f"var({THEME[colour]}, {colour})" if colour in THEME else colour
