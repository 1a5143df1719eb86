"""Do tasks that share a neck help each other, and does what is created?

python -m studies.multi_task [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.self_improve.__main__ import MULTI
from studies.teaching import Arm, Study
from studies.teaching_command import command

WEIGHTS = {"weights": {"normals": 0.2}}
"""Of losses: normals' is several times as large as the others'. Recipes that say nothing let all count alike."""
EXCHANGE = {"exchange": True}
JOINT = {
    "together": WEIGHTS,
    "together, with exchange": WEIGHTS | EXCHANGE,
    "together, equal weights": {},
    "together, equal weights, with exchange": EXCHANGE,
}


def both(name: str, tasks: tuple[str, ...], warm: dict) -> tuple[Arm, Arm]:
    begin = f"{name}: " if name else ""
    return (
        Arm(f"{begin}labels alone", tasks, warm=warm),
        Arm(f"{begin}+ created", tasks, pictures="created", warm=warm),
    )


SINGLE = tuple(arm for task in MULTI for arm in both("", (task,), {}))
STUDY = Study(
    folder=Path(__file__).parent,
    arms=(*SINGLE, *(arm for name, warm in JOINT.items() for arm in both(name, MULTI, warm))),
)

ABOUT = """
# Tasks together

From 100 labelled scenes, alone or beside 400 pictures created from them: one task at a time, or four on one neck, whose
heads may tell each other what they see. The loss of normals counts a fifth, as in `self_improve`, or as much as others.
Everything else is as there.
Written from `results.jsonl` by `python -m studies.multi_task --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
