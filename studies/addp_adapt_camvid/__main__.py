"""Classes of streets by the default recipe, under every law.

DENOISIGHT_SHARED_DATA=DATA python -m studies.addp_adapt_camvid [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.adapted import about, adapted
from studies.aligned import command
from studies.arms import Judged
from studies.worlds import photographs

STUDY = adapted(Path(__file__).parent, "semantic", Judged("miou", 1))
DATA = "266 photographs of streets (CamVid), tested on a drive that was never trained on"
ABOUT = about("Classes of streets", "semantic", DATA, "addp_adapt_camvid")

if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: photographs("camvid_240x180"))
