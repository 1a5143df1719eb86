"""The README's table of what created images bring, from the results of `self_improve`.

python -m studies.improving_readme
"""

from __future__ import annotations

from pathlib import Path

from studies.self_improve.__main__ import STUDY
from studies.teaching import BASE, Arm
from studies.teaching_tables import SHOWN, interval, runs_of, told

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- improving -->\n", "<!-- end of improving -->"
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


def write() -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
