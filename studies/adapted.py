"""Which law the default recipe should draw its noise levels by, where the embedded model learns from photographs."""

from __future__ import annotations

from pathlib import Path

from studies.arms import Arm, Judged, Study

UNITS = 3 * 300
BASE = "adapt, uniform"
LAWS = {"uniform": ("uniform", 0.0), "ct, a tenth uniform": ("ct", 0.1), "ct": ("ct", 0.0), "ct2": ("ct2", 0.0)}


def adapted(folder: Path, task: str, judged: Judged) -> Study:
    """`denoisight train TASK`, as it is by default but for its law; 300 steps, or 225 with on-policy corruption."""
    from denoisight.recipes.adapt import adapt

    recipe = adapt((task,), "").model_dump(exclude_unset=True)
    laws = tuple(Arm(f"adapt, {name}", {"noise": {"timesteps": law, "rho": rho}}) for name, (law, rho) in LAWS.items())
    corrupted = {"noise": {"timesteps": "uniform", "rho": 0.0}, "gt_augment": {"kinds": "on-policy"}}
    arms = (*laws, Arm(f"{BASE}, on-policy", corrupted, 4))
    return Study(
        folder=folder,
        recipe={**recipe, "threads": 1, "workers": 0, "validations": 1, "validation_images": 16},
        arms=arms,
        judged={task: judged},
        units=UNITS,
        baselines=(BASE,),
        curves=tuple(arm.name for arm in arms),
    )


def about(title: str, task: str, data: str, study: str) -> str:
    return f"""
# {title} by the default recipe, under every law

`denoisight train {task}` as it is by default but for its law, from the embedded model, on
{data}:
{UNITS // 3} steps of 8 images, or {UNITS // 4} with on-policy corruption. Written from `results.jsonl` by
`python -m studies.{study} --table`.
"""
