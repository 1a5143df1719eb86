"""The command of a study of teaching: its runs, where it says so its pictures, and its page."""

from __future__ import annotations

from dataclasses import replace

from studies import teach
from studies.creating import judge
from studies.flags import quick_folder, read_flags
from studies.teaching import Study
from studies.teaching_tables import write
from studies.worlds import SceneWorld


def command(study: Study, about: str) -> None:
    """`[--quick] [--jobs N] [--table]`: do what is missing and write README.md.

    Quick is the first three arms of one seed with a tenth of the steps, in a folder of its own: whether it runs.
    """
    asked = read_flags(about, "three arms of one seed, a tenth of the steps")
    if asked.quick:
        folder = quick_folder(study.folder)
        few = tuple(replace(arm, count=min(arm.count, 100)) for arm in study.arms[:3])
        steps = (study.steps[0] // 10, study.steps[1] // 10)
        world = SceneWorld(64) if isinstance(study.world, SceneWorld) else replace(study.world, adapt=20)
        study = replace(study, folder=folder, arms=few, seeds=(0,), steps=steps, world=world)
    if not asked.table:
        teach.run(study, asked.jobs)
        if study.judged:
            judge(study, asked.jobs)
    write(study, about)
