"""Classes of streets by the default recipe, under every law.

DENOISIGHT_SHARED_DATA=DATA python -m studies.addp_adapt_camvid [--quick] [--jobs N] [--table]
"""

import os
from pathlib import Path

from studies.adapted import UNITS, adapted
from studies.aligned import command
from studies.arms import Judged

STUDY = adapted(Path(__file__).parent, "semantic", Judged("miou", 1))

ABOUT = f"""
# Classes of streets by the default recipe, under every law

`denoisight train semantic` as it is by default but for its law, from the embedded model, on
266 photographs of streets (CamVid), tested on a drive that was never trained on:
{UNITS // 3} steps of 8 images, or {UNITS // 4} with on-policy corruption. Written from `results.jsonl` by
`python -m studies.addp_adapt_camvid --table`.
"""


def photographs(quick: bool) -> Path:
    return Path(os.environ.get("DENOISIGHT_SHARED_DATA", "../shared/data")) / "camvid_240x180"


if __name__ == "__main__":
    command(STUDY, ABOUT, photographs)
