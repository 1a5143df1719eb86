"""Depth of one kitchen: what do created photographs bring beside 24, 48 and all 96 measured ones?

DENOISIGHT_SHARED_DATA=DATA python -m studies.self_improve_kitchen [--quick] [--jobs N] [--table]
"""

from dataclasses import replace
from pathlib import Path

from studies.self_improve_camvid.__main__ import STUDY as CAMVID
from studies.self_improve_camvid.__main__ import arms
from studies.teaching_command import command
from studies.worlds import PhotoWorld

TASKS = ("depth",)
STUDY = replace(
    CAMVID,
    folder=Path(__file__).parent,
    arms=(*arms(TASKS, 24, 48), *arms(TASKS, 48, 48)),
    world=PhotoWorld("kitchen_rgbd_272x208", few=48, adapt=600),
)

ABOUT = f"""
# Depth of one kitchen and what is created from it

Frames of 7-Scenes' kitchen at 64 x 48 pixels, tested on later frames of the same room. `embedded-create` first
learns to create pictures like all 96 training frames, without depth, in {STUDY.world.adapt} steps; then heads on it
learn depth, as in `self_improve`. Which 24 or 48 have depth changes with the seed; twice as many pictures are created.
Written from `results.jsonl` by `python -m studies.self_improve_kitchen --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
