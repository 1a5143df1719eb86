"""Should the network under the heads learn, too?

python -m studies.backbone [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import Arm, Study
from studies.teaching_command import command

WAYS = {
    "frozen": {},
    "adapters": {"backbone": "lora"},
    "all of it at a tenth of the rate": {"backbone": "full", "optim": {"backbone_lr": 0.1}},
}
ARMS = tuple(
    arm
    for name, warm in WAYS.items()
    for arm in (
        Arm(f"{name}: labels alone", warm=warm),
        Arm(f"{name}: + created", pictures="created", warm=warm),
        Arm(f"{name}: + real without labels", pictures="unlabelled", warm=warm),
    )
)
STUDY = Study(folder=Path(__file__).parent, arms=ARMS)

ABOUT = """
# What learns under the heads

Normals from 100 labelled scenes, alone or beside 400 pictures: nothing under the heads learns, adapters of rank 16 do,
or all weights at a tenth of the heads' rate, in the warm-up as after it. The pictures are the same ones, labelled by
the average as it learns. Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.backbone --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
