"""The arms that every study of another task shares, at the settings that won in `addp_depth`, and its command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studies.arms import Arm, Study, run
from studies.flags import quick_folder, read_flags
from studies.tables import write

LAW, KINDS, STRENGTH = "ct2", "on-policy", "constant"
"""The best law of `addp_depth`, and the corruption that took away the late loss there under x0 prediction."""


LEARNING = {
    "optim": {"name": "muon", "lr": 2e-3, "warmup": 40, "ema": 0.99},
    "augment": {"crop": 1.0, "colour": 0.0},
    "validations": 1,
    "validation_images": 16,
    "workers": 0,
    "threads": 1,
    "precision": "bf16",
}
"""How the networks of all studies learn."""


def grid(law: str = LAW, kinds: str = KINDS, strength: str = STRENGTH) -> tuple[Arm, ...]:
    """Baseline, sampling, augmentation, both; of x0 prediction, on the network's own schedule."""
    return tuple(
        Arm(
            ", ".join(word for word in ("x0", timesteps, corruption) if word),
            {"noise": {"timesteps": timesteps}, "gt_augment": {"kinds": corruption, "schedule": strength}},
            4 if "on-policy" in corruption else 3,
        )
        for timesteps, corruption in (("uniform", ""), (law, ""), ("uniform", kinds), (law, kinds))
    )


def command(study: Study, about: str, data: Callable[[bool], Path]) -> None:
    """`[--quick] [--jobs N] [--table]`: run what is missing and write README.md; `data(quick)` gives the folder.

    Quick is two arms of one seed at a tenth of the budget, in a folder of its own: whether it runs, and no result.
    """
    asked = read_flags(about, "two arms of one seed at a tenth of the budget")
    if asked.quick:
        folder = quick_folder(study.folder)
        few = (study.arms[0], next(arm for arm in study.arms if arm.units == 4))
        study = replace(study, folder=folder, arms=few, seeds=(0,), units=study.units // 10, val=16, test=32)
    if not asked.table:
        run(study, data(asked.quick), asked.jobs)
    write(study, about)
