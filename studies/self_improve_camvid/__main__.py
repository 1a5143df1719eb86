"""Driving photographs: what do created ones bring beside 50, 100 and all 266 labelled ones?

DENOISIGHT_SHARED_DATA=DATA python -m studies.self_improve_camvid [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import Arm, Study
from studies.teaching_command import command
from studies.worlds import PhotoWorld

TASKS = ("semantic",)


def arms(tasks: tuple[str, ...], labels: int, spare: int) -> tuple[Arm, ...]:
    """With `labels` labelled photographs, and `spare` that nobody labelled."""
    at = {"tasks": tasks, "labels": labels}
    more = (Arm("+ real without labels", pictures="unlabelled", count=spare, **at),) if spare else ()
    return (
        Arm("labels alone", **at),
        Arm("+ created, improving labels", pictures="created", count=2 * labels, **at),
        Arm("+ created, fixed labels", pictures="annotated", count=2 * labels, **at),
        *more,
    )


STUDY = Study(
    folder=Path(__file__).parent,
    arms=(*arms(TASKS, 266, 0), *arms(TASKS, 100, 166), *arms(TASKS, 50, 100)),
    world=PhotoWorld("camvid_240x180", adapt=600),
    recipe={"res": 64},
    captions="none",
)

ABOUT = f"""
# Driving photographs and what is created from them

CamVid at 64 x 48 pixels, judged at 240 x 180 on a clip that nobody learnt from. `embedded-create` first learns to
create pictures like all 266 training photographs, without labels, in {STUDY.world.adapt} steps; then heads on it learn
labels, as in `self_improve`. Which 50 or 100 are labelled changes with the seed; twice as many pictures are created.
Written from `results.jsonl` by `python -m studies.self_improve_camvid --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
