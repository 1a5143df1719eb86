"""The README's tables of what created images bring and cost, from the results of `self_improve` and of benchmarks.

python -m studies.improving_readme
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studies.self_improve.__main__ import STUDY
from studies.teaching import BASE, Arm
from studies.teaching_tables import SHOWN, interval, runs_of, told

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- improving -->\n", "<!-- end of improving -->"
COST_BEGIN, COST_END = "<!-- cost of improving -->\n", "<!-- end of cost of improving -->"
USUAL, OWN = "usual", "own"
LABELS = 100
BESIDE = (
    ("+ created, fixed labels", LABELS),
    ("+ created, improving labels", LABELS),
    ("+ created, two rounds", LABELS),
    ("+ real without labels", LABELS),
    ("+ augmentation", LABELS),
    (BASE, 2 * LABELS),
    (BASE, 0),
)
"""Arms and their numbers of labels, 0 for all."""


def table() -> str:
    """The score of `LABELS` alone for each task learnt by itself, and by how much each of `BESIDE` changes it."""
    arms = {arm.key: arm for arm in STUDY.arms}
    tasks = [arm.tasks[0] for arm in STUDY.arms if arm.name == BASE and arm.labels == LABELS and len(arm.tasks) == 1]
    heads = [f"{task}, {SHOWN[task][0]} {'↓' if SHOWN[task][1] < 0 else '↑'}" for task in tasks]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(tasks)]
    bases = {task: arms[BASE, task, LABELS] for task in tasks}
    lines.append(_line(f"{LABELS} {BASE}", bases))
    for name, labels in BESIDE:
        title = name if labels == LABELS else f"{labels or 'all'} {name}"
        lines.append(_line(title, {task: arms[name, task, labels] for task in tasks}, bases))
    return "\n".join(lines) + "\n"


def _line(title: str, mine: dict[str, Arm], bases: dict[str, Arm] | None = None) -> str:
    cells = []
    for task, arm in mine.items():
        base = runs_of(STUDY, bases[task]) if bases else None
        cells.append(told(interval(task, runs_of(STUDY, arm), base), *SHOWN[task][2:], "+" if bases else ""))
    return f"| {title} | {' | '.join(cells)} |"


def costs() -> str:
    """Images a second, and how many times those of the usual way."""
    small, large = (_told_by(f"self_improve{shape}.json") for shape in ("", "-sd15"))
    heads = [f"{small['model']}, {small['res']} px", f"Stable Diffusion 1.5's shape, {large['res']} px"]
    lines = [f"| images/s on one CPU core | {' | '.join(heads)} |", "|---|---:|---:|"]
    steps = {
        "two passes": "a step, the network asked twice",
        "one pass": "a step, asked once for both",
        "first epoch": "a step, what it says kept: in the first epoch",
        "cached": "the same from the second epoch on",
    }
    for arm, title in steps.items():
        rates = [{**one["images_per_s"], "first epoch": one["first_epoch"]} for one in (small, large)]
        lines.append(f"| {title} | {' | '.join(_rate(each, arm, 'two passes') for each in rates)} |")
    rows = {row["name"]: row for row in _told_by("creation.json")["arms"]}
    rates = {name: row["images_per_s"] for name, row in rows.items()}
    for name in (USUAL, OWN):
        title = f"creating, {rows[name]['batch']} at a time in {rows[name]['steps']} steps"
        more, low, high = rows[name]["worse_by"]
        beside = "" if name == USUAL else f", KID changes by {more:+.4f} [{low:+.4f}, {high:+.4f}]"
        lines.append(f"| {title} | {_rate(rates, name, USUAL)}{beside} | |")
    return "\n".join(lines) + "\n"


def _told_by(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / name).read_text())


def _rate(rates: dict[str, float], name: str, usual: str) -> str:
    ratio = "" if name == usual else f" ({rates[name] / rates[usual]:.1f} x)"
    return f"{rates[name]:.2g}{ratio}"


def write() -> None:
    text = README.read_text(encoding="utf-8")
    for begin, written, end in ((BEGIN, table(), END), (COST_BEGIN, costs(), COST_END)):
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{written}{end}{rest.partition(end)[2]}"
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
