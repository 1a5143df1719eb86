"""From which noise should pictures be created?

python -m studies.creation_noise [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.creation_level.__main__ import PER_IMAGE
from studies.teaching import Arm, Study
from studies.teaching_command import command

WAYS = {
    "noise": {"noise_level": (0.6, 0.6)},
    "noise of several resolutions": {"noise_level": (0.6, 0.6), "noise": "multires"},
    "inversion": {"noise_level": (0.4, 0.8), "noise": "inversion"},
    "inversion, guidance 4": {"noise_level": (0.4, 0.8), "noise": "inversion", "guidance": 4.0},
    "noise at a random level": {"noise_level": (0.3, 0.9)},
    "noise, guidance 2": {"noise_level": (0.6, 0.6), "guidance": 2.0},
    "words alone, guidance 2": {"noise_level": (1.0, 1.0), "guidance": 2.0},
}
ARMS = tuple(
    Arm(f"+ {name}", pictures="created", variation={"per_image": PER_IMAGE, **way}) for name, way in WAYS.items()
)
STUDY = Study(folder=Path(__file__).parent, arms=(Arm("labels alone"), *ARMS), judged=True)

ABOUT = """
# Where created pictures begin

Normals from 100 labelled scenes, and 400 pictures created from them in each way, labelled by the average as it learns.
Where a level is drawn for each picture it is one of 0.3 to 0.9, for inversion of 0.4 to 0.8; else it is 0.6.
Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.creation_noise --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
