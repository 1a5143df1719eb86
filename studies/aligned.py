"""The arms that every study of another task shares, at the settings that won in `addp_depth`, and its command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studies.arms import Arm, Study, run
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
    flags = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--quick", action="store_true", help="two arms of one seed at a tenth of the budget: no result")
    flags.add_argument("--table", action="store_true", help="only write README.md from results.jsonl")
    flags.add_argument("--jobs", type=int, help="runs at a time (default: one a core)")
    asked = flags.parse_args()
    if asked.quick:
        folder = Path("runs/studies") / f"{study.folder.name}-quick"
        folder.mkdir(parents=True, exist_ok=True)
        few = (study.arms[0], next(arm for arm in study.arms if arm.units == 4))
        study = replace(study, folder=folder, arms=few, seeds=(0,), units=study.units // 10, val=16, test=32)
    if not asked.table:
        run(study, data(asked.quick), asked.jobs)
    write(study, about)
