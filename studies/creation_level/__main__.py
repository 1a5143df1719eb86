"""How much noise is best for creating pictures to learn from?

python -m studies.creation_level [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import Arm, Study
from studies.teaching_command import command

LEVELS = (0.2, 0.4, 0.6, 0.8, 0.9)
PER_IMAGE = 7
"""So many that the pictures of three seeds are 2,100; 400 of each seed are learnt from."""


def at_level(level: float) -> Arm:
    variation = {"noise_level": (level, level), "per_image": PER_IMAGE}
    return Arm(f"+ created at {level:g}", pictures="created", variation=variation)


STUDY = Study(folder=Path(__file__).parent, arms=(Arm("labels alone"), *map(at_level, LEVELS)), judged=True)

ABOUT = """
# How much noise created pictures are made from

Normals from 100 labelled scenes, and 400 pictures created from them at each noise level, labelled by the average as it
learns. Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.creation_level --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
