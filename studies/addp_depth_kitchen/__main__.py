"""Depth of real photographs by ADDP: 96 frames of one kitchen.

DENOISIGHT_SHARED_DATA=DATA python -m studies.addp_depth_kitchen [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.addp_refer.__main__ import RECIPE
from studies.aligned import command, grid
from studies.arms import Judged, Study
from studies.worlds import photographs

UNITS = 3 * 360
ARMS = grid()
STUDY = Study(
    folder=Path(__file__).parent,
    recipe={
        **RECIPE,
        "recipe": "addp_depth_kitchen",
        "tasks": ("depth",),
        "codecs": {"depth": "ratio"},
        "teaching": {},
        "augment": {"crop": 0.7, "colour": 0.3},
    },
    arms=ARMS,
    judged={"depth": Judged("abs_rel", -1)},
    units=UNITS,
    baselines=(ARMS[0].name,),
    curves=tuple(arm.name for arm in ARMS),
)

ABOUT = f"""
# Depth of real photographs by denoising, aligned with perception

From `embedded-create`, which never saw a depth map or a photograph, on the training frames of one kitchen
(7-Scenes, with measured depth) at 64 x 48 pixels: {UNITS // 3} steps of 32 images, or {UNITS // 4} with on-policy
corruption; tested on later frames of the same room. It shows that the effects are there on photographs, not that
the model generalises. Written from `results.jsonl` by `python -m studies.addp_depth_kitchen --table`.
"""


if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: photographs("kitchen_rgbd_272x208"))
