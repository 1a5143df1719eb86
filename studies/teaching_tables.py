"""What is written about a study of self-improvement: a table for each task, and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.special import stdtrit
from studies import creating
from studies.tables import COLOURS
from studies.teaching import BASE, JUDGE, JUDGED, Arm, Study

from denoisight.evaluate.usefulness import gains, usefulness, worth

NORMAL = 1.96
"""Standard deviations of a normal distribution that hold its middle 95 %, to either side."""
PER = 100
"""Gains are told for so many pictures."""
REAL = ("unlabelled", "labelled")
Runs = Sequence[Mapping[str, Any]]
Group = tuple[str, int, str]
Interval = tuple[float, float, float]

SHOWN = {
    "normals": ("mean angle, degrees", -1, 1.0, 2),
    "semantic": ("mIoU", 1, 100.0, 1),
    "depth": ("AbsRel", -1, 1.0, 4),
    "saliency": ("best F", 1, 100.0, 1),
    "boundary": ("best F", 1, 100.0, 1),
}
"""The metric's name, which way is better, by what it is multiplied, decimals."""


@dataclass(frozen=True)
class Addition:
    """Pictures beside the base's, "created", "annotated" or a kind of `REAL`, and by seed what each of them gains."""

    name: str
    kind: str
    count: int
    gained: Mapping[int, float]


def write(study: Study, about: str) -> None:
    """README.md with a table for each task of each group of tasks, and a figure of each, in the study's folder."""
    found = {arm: runs_of(study, arm) for arm in study.arms}
    found = {arm: runs for arm, runs in found.items() if runs}
    if not found:
        return
    lines = [
        *about.strip().splitlines(),
        "",
        "Change is against the arm with the same warm-up and no pictures beside, of the same seeds, and where several",
        "ways to warm up are tried, of that arm against the first of them. Brackets: 95 % intervals over seeds (by",
        "Student's t; a single seed tells nothing of them) and test images (by bootstrap, as if frames of a clip were",
        "independent). theta_C and theta_E: validation score of the averaged weights, which are what is tested, and of",
        "the raw ones at the same time. CPU s: of training after the warm-up, on one core.",
    ]
    for tasks in dict.fromkeys(arm.tasks for arm in found):
        for task in tasks:
            mine = {arm: runs for arm, runs in found.items() if arm.tasks == tasks}
            name = f"{task}-of-{len(tasks)}" if len(tasks) > 1 else task
            together = f", learnt with {', '.join(other for other in tasks if other != task)}" if len(tasks) > 1 else ""
            lines += ["", f"## {task}{together}", "", *table(task, mine), *useful(task, mine)]
            lines += ["", f"![{name}](figure-{name}.svg)"]
            draw(study, task, mine, name)
    lines += delta_m(found) + agreements(found) + creating.table(study)
    (study.folder / "README.md").write_text("\n".join(lines) + "\n")


def table(task: str, found: Mapping[Arm, Runs]) -> list[str]:
    metric, better, times, decimals = SHOWN[task]
    arrow = "↓" if better < 0 else "↑"
    lines = [
        f"| labels | arm | seeds | CPU s | {metric} {arrow} | change | theta_C | theta_E |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    bases = _bases(found)
    for arm, runs in found.items():
        value = told(interval(task, runs), times, decimals)
        base = bases.get(arm.group)
        if runs is base:
            base = next(other for group, other in bases.items() if group[:2] == arm.group[:2])
        change = told(interval(task, runs, base), times, decimals, "+") if base and runs is not base else ""
        seconds = round(np.mean([run["cpu_s"] for run in runs]))
        both = [_mean_of(runs, kind, task, times, decimals) for kind in ("val", "raw")]
        lines.append(f"| {arm.labels or 'all'} | {arm.name} | {len(runs)} | {seconds} | {value} | {change} | "
                     f"{both[0]} | {both[1]} |")  # fmt: skip
    return lines


def useful(task: str, found: Mapping[Arm, Runs]) -> list[str]:
    """What a created picture is worth, where there are created and real ones to add to the same labels; nothing
    otherwise."""
    lines = []
    for (_, labels, _), added in additions(task, found).items():
        if len({one.kind in REAL for one in added}) < 2:
            continue
        for one in added:
            gained = _known(usefulness(one.gained), PER * SHOWN[task][2], SHOWN[task][3] + 1, "+")
            worths = (_known(worth(one.gained, _like(one, kind, added)), 1.0, 2) for kind in REAL)
            lines.append(f"| {labels or 'all'} | {one.name} | {one.count} | {gained} | {' | '.join(worths)} |")
    head = [
        "",
        f"What a picture is worth: {SHOWN[task][0]} gained for each {PER} beside the same labels (above 0: better),",
        "and as how many real ones each counts, where those surely help: without labels, of the arm with the most",
        "similar number, or with them. Brackets: 95 % intervals over seeds (Student's t; of ratios Fieller's).",
        "",
        f"| labels | arm | pictures | gained per {PER} | in real ones without labels | in real ones with labels |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    return [*head, *lines] if lines else []


def additions(task: str, found: Mapping[Arm, Runs]) -> dict[Group, list[Addition]]:
    """Of each group of arms what they have beside its base; and the labels that the next larger group has more."""
    bases, added = _bases(found), {}
    for group, base in bases.items():
        tasks, labels, warm = group
        mine = {arm: runs for arm, runs in found.items() if arm.group == group and _adds(arm)}
        # Every round makes pictures of its own.
        arms = [(arm.name, arm.pictures, arm.count * arm.rounds, runs) for arm, runs in mine.items()]
        larger = [other for other in bases if (other[0], other[2]) == (tasks, warm) and other[1] > labels > 0]
        for other in sorted(larger)[:1]:
            more = other[1] - labels
            arms.append((f"+ {more} real with labels", "labelled", more, bases[other]))
        without, better = _by_seed(base, task), SHOWN[task][1]
        added[group] = [
            Addition(name, kind, count, gains(_by_seed(runs, task), without, count, better))
            for name, kind, count, runs in arms
        ]
    return added


def _like(one: Addition, kind: str, added: Sequence[Addition]) -> Mapping[int, float]:
    """What pictures of a kind gain, of the arm whose number of them is most like this one's."""
    alike = [other for other in added if other.kind == kind]
    return min(alike, key=lambda other: abs(other.count - one.count)).gained if alike else {}


def _by_seed(runs: Runs, task: str) -> dict[int, float]:
    return {run["seed"]: run["scores"][task]["test"] for run in runs}


def _bases(found: Mapping[Arm, Runs]) -> dict[Group, Runs]:
    """By group the arm that the others of it are held against."""
    bases: dict[Group, Runs] = {}
    for arm, runs in found.items():
        if arm.name.endswith(BASE):
            bases.setdefault(arm.group, runs)
    return bases


def _adds(arm: Arm) -> bool:
    """Whether it has pictures beside the labelled ones, and not in their place."""
    return bool(arm.pictures) and not arm.changes.get("self_teaching", {}).get("alone")


def delta_m(found: Mapping[Arm, Runs]) -> list[str]:
    """By how many percent tasks together are better, in the mean over them, than each by itself from labels alone
    (Maninis et al., CVPR 2019), where each was tried by itself."""
    single = {(arm.tasks[0], arm.labels): runs for arm, runs in found.items()
              if len(arm.tasks) == 1 and arm.name == BASE}  # fmt: skip
    lines = []
    for arm, runs in found.items():
        alone = [single.get((task, arm.labels)) for task in arm.tasks]
        if len(arm.tasks) > 1 and all(alone):
            gains = [SHOWN[task][1] * _times(_by_seed(runs, task), _by_seed(base, task))
                     for task, base in zip(arm.tasks, alone, strict=True) if base]  # fmt: skip
            each = ", ".join(f"{task} {100 * gain:+.1f}" for task, gain in zip(arm.tasks, gains, strict=True))
            lines.append(f"| {arm.labels or 'all'} | {arm.name} | {100 * np.mean(gains):+.1f} | {each} |")
    head = ["", "## All tasks", "", "| labels | arm | Delta_m, % ↑ | of each task |", "|---:|---|---:|---|"]
    return [*head, *lines] if lines else []


def _times(own: Mapping[int, float], base: Mapping[int, float]) -> float:
    """By how much of itself the mean of the seeds that both have is changed."""
    seeds = own.keys() & base.keys()
    return sum(own[seed] for seed in seeds) / sum(base[seed] for seed in seeds) - 1


def agreements(found: Mapping[Arm, Runs]) -> list[str]:
    """How the labels of created pictures fit what the judge sees there, before and after each turn."""
    lines = []
    for arm, runs in found.items():
        for task in runs[0].get("agreement", {}):
            metric, better, times, decimals = SHOWN[task]
            means = np.mean([run["agreement"][task] for run in runs], 0)
            told = " → ".join(f"{times * value:.{decimals}f}" for value in means)
            arrow = "↓" if better < 0 else "↑"
            name = f"{task} of {len(arm.tasks)}" if len(arm.tasks) > 1 else task
            lines.append(f"| {arm.labels or 'all'} | {arm.name} | {name}: {metric} {arrow} | {told} |")
    head = [
        "",
        "## Labels of created pictures",
        "",
        f"What a run sees in {JUDGED} created pictures, held against what `{JUDGE}` sees there: after the warm-up and",
        "after each turn, in the mean over seeds.",
        "",
        "| labels | arm | of | agreement |",
        "|---:|---|---|---:|",
    ]
    return [*head, *lines] if lines else []


def interval(task: str, runs: Runs, base: Runs | None = None) -> Interval:
    """Mean over seeds and its 95 % interval over seeds and test images; of the difference to `base` in the seeds that
    both have. Every run was scored on the same lists of images, so differences are paired.

    The scatter of seeds is Student's t: a bootstrap of three reaches no farther than the least and the most of them,
    and holds the mean in three cases of four. That of images, which all seeds share, is the bootstrap's; of a single
    seed there is no other.
    """
    own = {run["seed"]: run["scores"][task] for run in runs}
    if base is not None:
        other = {run["seed"]: run["scores"][task] for run in base}
        seeds = sorted(own.keys() & other.keys())
        means = np.array([own[s]["test"] - other[s]["test"] for s in seeds])
        drawn = np.array([np.subtract(own[s]["drawn"], other[s]["drawn"]) for s in seeds])
    else:
        means, drawn = np.array([one["test"] for one in own.values()]), np.array([one["drawn"] for one in own.values()])
    if not len(means):
        return np.nan, np.nan, np.nan
    middle, count = float(means.mean()), len(means)
    of_images = NORMAL * drawn.mean(0).std(ddof=1)
    of_seeds = stdtrit(count - 1, 0.975) * means.std(ddof=1) / count**0.5 if count > 1 else 0.0
    half = float(np.hypot(of_images, of_seeds))
    return middle, middle - half, middle + half


def draw(study: Study, task: str, found: Mapping[Arm, Runs], name: str) -> None:
    """Every arm's score with its interval, one colour for each number of labels."""
    metric, _, times, _ = SHOWN[task]
    colours = dict(zip(dict.fromkeys(arm.labels for arm in found), COLOURS, strict=False))
    figure = Figure(figsize=(7, max(2.4, 1 + 0.24 * len(found))), layout="constrained")
    axes = figure.add_subplot()
    for place, (arm, runs) in enumerate(found.items()):
        middle, low, high = (times * value for value in interval(task, runs))
        axes.plot([low, high], [place, place], color=colours[arm.labels], linewidth=1.2)
        axes.plot(middle, place, "o", color=colours[arm.labels], markersize=4)
    axes.set_yticks(range(len(found)), [f"{arm.name} ({arm.labels or 'all'})" for arm in found], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(f"{task}: test {metric}")
    axes.grid(axis="x", linewidth=0.4)
    with rc_context({"svg.hashsalt": study.folder.name}):  # alike whenever it is drawn
        figure.savefig(study.folder / f"figure-{name}.svg", metadata={"Date": None})


def runs_of(study: Study, arm: Arm) -> Runs:
    rows = [row for row in study.rows() if tuple(row["key"]) == arm.key]
    return sorted(rows, key=lambda row: row["seed"])


def told(value: Interval, times: float, decimals: int, sign: str = "") -> str:
    middle, low, high = (f"{times * number:{sign}.{decimals}f}" for number in value)
    return f"{middle} [{low}, {high}]"


def _known(value: Interval, times: float, decimals: int, sign: str = "") -> str:
    """Without the interval where one seed has none; empty where the value itself is unknown."""
    if math.isnan(value[0]):
        return ""
    return f"{times * value[0]:{sign}.{decimals}f}" if math.isnan(value[1]) else told(value, times, decimals, sign)


def _mean_of(runs: Runs, kind: str, task: str, times: float, decimals: int) -> str:
    values = [v for run in runs for n, v in run[kind].items() if n.startswith(f"{task}/")]
    return f"{times * np.mean(values):.{decimals}f}" if values else ""
