"""Boundaries in photographs: what do created ones bring beside 50 and 100 that people outlined?

DENOISIGHT_SHARED_DATA=DATA python -m studies.self_improve_bsds [--quick] [--jobs N] [--table]
"""

from dataclasses import replace
from pathlib import Path

from studies.self_improve_camvid.__main__ import STUDY as CAMVID
from studies.self_improve_camvid.__main__ import arms
from studies.teaching_command import command
from studies.worlds import PhotoWorld

TASKS = ("boundary",)
STUDY = replace(
    CAMVID,
    folder=Path(__file__).parent,
    arms=(*arms(TASKS, 50, 30), *arms(TASKS, 100, 30)),
    world=PhotoWorld("bsds500_half_train", adapt=600),
)

ABOUT = f"""
# Boundaries in photographs and what is created from them

BSDS500 at 64 pixels on the longer side, judged at half size. `embedded-create` first learns to create pictures like all
130 training photographs, without outlines, in {STUDY.world.adapt} steps; then heads on it learn boundaries, as in
`self_improve`. Which 50 or 100 are outlined changes with the seed; twice as many pictures are created.
Written from `results.jsonl` by `python -m studies.self_improve_bsds --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
