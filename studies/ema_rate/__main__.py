"""How fast should the average that teaches follow what learns?

python -m studies.ema_rate [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import BATCH, STEPS, Arm, Study
from studies.teaching_command import command

SHARES = (1 / 200, 1 / 50, 1 / 20, 1 / 5, 1.0)
"""Of the run, over which the average forgets the half of itself."""


def at_rate(share: float) -> Arm:
    over = round(share * BATCH * STEPS[1])
    return Arm(f"half over {over} pictures", pictures="created", changes={"self_teaching": {"average_over": over}})


PAPER = Arm(
    "0.998 over 80 pictures",
    pictures="created",
    changes={"optim": {"ema": 0.998}, "self_teaching": {"average_over": 80}},
)
STUDY = Study(folder=Path(__file__).parent, arms=(Arm("labels alone"), *map(at_rate, SHARES), PAPER))

ABOUT = f"""
# How fast the average follows

Normals from 100 labelled scenes and 400 pictures created from them, labelled by an average that keeps one half of
itself over so many pictures; {STUDY.steps[1]} steps are {BATCH * STUDY.steps[1]:,}. The paper's rate is that of a run
of some 65,000. Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.ema_rate --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
