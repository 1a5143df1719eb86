"""One model for depth, labels, referring and detection, asked in free words, by ADDP.

python -m studies.addp_generalist [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.addp_refer.__main__ import RECIPE
from studies.aligned import command, grid
from studies.arms import Judged, Study
from studies.scenes import scenes

UNITS = 3 * 720
ARMS = grid()
STUDY = Study(
    folder=Path(__file__).parent,
    recipe={
        **RECIPE,
        "recipe": "addp_generalist",
        "tasks": ("depth", "semantic", "referring", "detection"),
        "codecs": {"depth": "ratio", "detection": "paint"},
        "batch": 16,
        "teaching": {"drop": 0.05, "passes": 2, "balance": True, "paraphrase": 1.0, "weights": {"referring": 2.0}},
    },
    arms=ARMS,
    judged={
        "depth": Judged("abs_rel", -1),
        "semantic": Judged("miou", 1),
        "referring": Judged("miou", 1),
        "detection": Judged("pq", 1),
    },
    units=UNITS,
    baselines=(ARMS[0].name,),
    curves=tuple(arm.name for arm in ARMS),
    test=128,
    val=64,
    instructed=True,
)

ABOUT = f"""
# A generalist, aligned with perception

One model for depth, labels, the thing that words mean and painted boxes, as InstructCV: from `embedded-create`,
on 8,192 procedural scenes of 64 x 64 pixels, {UNITS // 3} steps of 16 images with two tasks each, or {UNITS // 4}
with on-policy corruption. It is taught and asked by templates with paraphrases; each answer is judged by its own
task's metric, the mean over images. Written from `results.jsonl` by `python -m studies.addp_generalist --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: scenes(256 if quick else 8192, 64))
