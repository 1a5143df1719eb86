"""Surface normals by ADDP, at the settings that won for depth.

python -m studies.addp_normals [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.addp_depth.__main__ import STUDY as DEPTH
from studies.addp_depth.__main__ import UNITS
from studies.aligned import command, grid
from studies.arms import Judged, Study
from studies.scenes import scenes

ARMS = grid()
STUDY = Study(
    folder=Path(__file__).parent,
    recipe={**DEPTH.recipe, "recipe": "addp_normals", "tasks": ("normals",), "codecs": {}, "noise": {"predicts": "x0"}},
    arms=ARMS,
    judged={"normals": Judged("mean", -1)},
    units=UNITS,
    baselines=(ARMS[0].name,),
    curves=tuple(arm.name for arm in ARMS),
)

ABOUT = f"""
# Surface normals by denoising, aligned with perception

As in `addp_depth`: networks of 5.1 million weights from nothing on 8,192 procedural scenes of 32 x 32 pixels,
{UNITS // 3} steps of 64 images, or {UNITS // 4} with on-policy corruption, x0 prediction. Mean angle in degrees.
Written from `results.jsonl` by `python -m studies.addp_normals --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: scenes(512 if quick else 8192))
