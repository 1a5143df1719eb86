"""Depth of a kitchen by the default recipe, under every law.

DENOISIGHT_SHARED_DATA=DATA python -m studies.addp_adapt_kitchen [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.adapted import about, adapted
from studies.aligned import command
from studies.arms import Judged
from studies.worlds import photographs

STUDY = adapted(Path(__file__).parent, "depth", Judged("abs_rel", -1))
DATA = "96 frames of one kitchen (7-Scenes, with measured depth), tested on later frames of the same room"
ABOUT = about("Depth of a kitchen", "depth", DATA, "addp_adapt_kitchen")

if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: photographs("kitchen_rgbd_272x208"))
