"""How many created pictures are worth their making?

python -m studies.creation_count [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import Arm, Study
from studies.teaching_command import command

COUNTS = (50, 100, 200, 400)
CREATED = tuple(
    Arm(f"+ {count} created", pictures="created", count=count, variation={"per_image": 4}) for count in COUNTS
)
REAL = tuple(Arm(f"+ {count} real without labels", pictures="unlabelled", count=count) for count in COUNTS)
STUDY = Study(folder=Path(__file__).parent, arms=(Arm("labels alone"), *CREATED, *REAL))

ABOUT = """
# How many created pictures

Normals from 100 labelled scenes and half as many to four times as many pictures beside, created from them or real ones
without labels, labelled by the average as it learns. At least half of each batch are labelled scenes, and two thirds of
it beside 50 pictures. Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.creation_count --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
