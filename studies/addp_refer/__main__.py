"""Referring segmentation by ADDP: the thing that words mean, from a network that knows images and captions.

python -m studies.addp_refer [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.aligned import LEARNING, command, grid
from studies.arms import Judged, Study
from studies.scenes import scenes

UNITS = 3 * 720
ARMS = (*grid(), *grid(kinds="all", strength="lambda")[3:])
"""Beside the winners the corruptions of masks that the paper has."""

RECIPE = {**LEARNING, "model": "embedded-create", "batch": 32, "res": 64, "teaching": {"drop": 0.05}}
STUDY = Study(
    folder=Path(__file__).parent,
    recipe={**RECIPE, "recipe": "addp_refer", "tasks": ("referring",)},
    arms=ARMS,
    judged={"referring": Judged("miou", 1)},
    units=UNITS,
    baselines=(ARMS[0].name,),
    curves=tuple(arm.name for arm in ARMS),
)

ABOUT = f"""
# Referring segmentation by denoising, aligned with perception

From `embedded-create`, which knows images and captions, on 8,192 procedural scenes of 64 x 64 pixels: {
    UNITS // 3
} steps of 32 images, or {UNITS // 4} with on-policy corruption, x0 prediction on a zero-terminal schedule, words
dropped as InstructPix2Pix does. Mean IoU. Written from `results.jsonl` by `python -m studies.addp_refer --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: scenes(256 if quick else 8192, 64))
