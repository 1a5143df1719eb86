"""Which created pictures, and which of their pixels, should be left out?

python -m studies.filters [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import BATCH, STEPS, Arm, Study
from studies.teaching_command import command

NONE = {"min_valid": 0.0, "min_distance": 0.0, "min_contrast": 0.0, "max_saturated": 1.0, "empty": True}
SURE = (0.3, 0.5, 0.7)
STUDY = Study(
    folder=Path(__file__).parent,
    arms=(
        Arm("labels alone"),
        Arm("nothing left out", pictures="created", filters=NONE),
        Arm("blank ones and copies left out", pictures="created"),
        *(
            Arm(f"pixels surer than {share:g}", pictures="created", changes={"self_teaching": {"confidence": share}})
            for share in SURE
        ),
        Arm("half the weight", pictures="created", changes={"self_teaching": {"weight": 0.5}}),
        Arm(
            "weight grows over half the run",
            pictures="created",
            changes={"self_teaching": {"ramp": STEPS[1] * BATCH // 2}},
        ),
    ),
)

ABOUT = """
# What is left out

Normals from 100 labelled scenes and 400 pictures created from them, labelled by the average as it learns; from the
third arm on the usual filters leave out blank pictures and copies. Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.filters --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
