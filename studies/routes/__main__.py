"""By which route should created pictures be labelled?

python -m studies.routes [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import Arm, Study
from studies.teaching_command import command

STUDY = Study(
    folder=Path(__file__).parent,
    arms=(
        Arm("labels alone"),
        Arm("labelled by heads", pictures="annotated"),
        Arm("labelled by denoising", pictures="annotated", labelled_by="denoise"),
        Arm("labelled by both, averaged", pictures="annotated", labelled_by="both"),
        Arm("labelled by heads of four warm-ups, averaged", pictures="annotated", labelled_by="several"),
        Arm("labelled by the improving heads", pictures="created"),
        Arm("labelled by heads that saw all labels", pictures="annotated", labelled_by="all labels"),
    ),
)

ABOUT = """
# Who labels created pictures

Normals from 100 labelled scenes and 400 pictures created from them, which got their labels once from the warmed-up
heads, from a network that learnt to denoise normals from the same labels in as many steps, or from both; or get them
from the improving heads; or from the warmed-up heads and those of three more warm-ups, which differ in their seeds and
learnt from the same labels. What learns are the same heads. Heads are asked for mirror images, too, the network that
denoises is not. The last arm tells what better labels could bring: those of heads that learnt from all 8,192 scenes.
Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.routes --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
