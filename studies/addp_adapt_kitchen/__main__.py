"""Depth of a kitchen by the default recipe, under every law.

DENOISIGHT_SHARED_DATA=DATA python -m studies.addp_adapt_kitchen [--quick] [--jobs N] [--table]
"""

import os
from pathlib import Path

from studies.adapted import UNITS, adapted
from studies.aligned import command
from studies.arms import Judged

STUDY = adapted(Path(__file__).parent, "depth", Judged("abs_rel", -1))

ABOUT = f"""
# Depth of a kitchen by the default recipe, under every law

`denoisight train depth` as it is by default but for its law, from the embedded model, on
96 frames of one kitchen (7-Scenes, with measured depth), tested on later frames of the same room:
{UNITS // 3} steps of 8 images, or {UNITS // 4} with on-policy corruption. Written from `results.jsonl` by
`python -m studies.addp_adapt_kitchen --table`.
"""


def photographs(quick: bool) -> Path:
    return Path(os.environ.get("DENOISIGHT_SHARED_DATA", "../shared/data")) / "kitchen_rgbd_272x208"


if __name__ == "__main__":
    command(STUDY, ABOUT, photographs)
