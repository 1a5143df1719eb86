"""Depth by ADDP: what do sampling and augmentation bring, for which prediction, by which law and corruption?

    python -m studies.addp_depth [--quick] [--jobs N] [--table]

Every arm trains a network of 5.1 million weights from nothing on 8,192 procedural scenes of 32 x 32 pixels, with the
same number of network evaluations. `--quick` trains two arms of one seed for a tenth of that, into a folder of its own.
"""

from __future__ import annotations

from pathlib import Path

from studies.aligned import command
from studies.arms import Arm, Judged, Study
from studies.scenes import scenes

HERE = Path(__file__).parent
UNITS = 3 * 360


def arm(
    predicts: str,
    law: str = "uniform",
    kinds: str = "",
    *,
    name: str = "",
    by: str = "sampling",
    schedule: str = "scaled-linear",
    strength_by: str = "lambda",
    **gt: object,
) -> Arm:
    """`predicts, law, kinds` with the words of `name` for what else is different."""
    words = [predicts, law, *([kinds.replace(",", " ")] if kinds else []), *([name] if name else [])]
    noise = {"schedule": schedule, "predicts": predicts, "timesteps": law, "by": by}
    changes = {"noise": noise, "gt_augment": {"kinds": kinds, "schedule": strength_by, **gt}}
    return Arm(", ".join(words), changes, 4 if "on-policy" in kinds else 3)


GRID = tuple(
    arm(predicts, law, kinds)
    for predicts in ("x0", "v", "eps")
    for law, kinds in (("uniform", ""), ("ramp", ""), ("uniform", "on-policy"), ("ramp", "on-policy"))
)
PAPER = tuple(
    arm(predicts, law, kinds)
    for predicts in ("x0", "v", "eps")
    for law, kinds in (("ct2", ""), ("uniform", "blur"), ("ct2", "blur"))
)
LAWS = (
    *(arm("v", law) for law in ("ct", "native", "converted", "logit-normal", "mode-shifted")),
    *(arm("x0", law) for law in ("ct", "converted")),
    arm("x0", "ct", "on-policy"),
)
SCALED = (
    *(arm("v", law, by="scaling", name="scaling") for law in ("ramp", "ct", "min-snr", "p2")),
    arm("x0", "ramp", by="scaling", name="scaling"),
)
CORRUPTIONS = (
    *(arm("x0", "ramp", kinds) for kinds in ("blur", "drift", "blur,drift", "on-policy-exact")),
    arm("v", "ramp", "on-policy-exact"),
)
VARIANTS = (
    arm("x0", "ramp", "on-policy", name="constant", strength_by="constant"),
    arm("x0", "ramp", "on-policy", name="t/T", strength_by="time"),
    arm("v", "ramp", "on-policy", name="constant", strength_by="constant"),
    arm("x0", "ramp", "on-policy", name="naive", target="naive"),
    arm("x0", "ramp", "blur", name="constant", strength_by="constant"),
    arm("x0", "ramp", "blur", name="naive", target="naive"),
    arm("x0", "ramp", name="perturbed", perturb=0.1),
    arm("v", "ramp", name="perturbed", perturb=0.1),
)
FLOW = tuple(
    arm("flow", law, kinds, schedule="flow")
    for law, kinds in (("uniform", ""), ("ramp", ""), ("uniform", "on-policy"), ("ramp", "on-policy"))
)


STUDY = Study(
    folder=HERE,
    recipe={
        "recipe": "addp_depth",
        "tasks": ("depth",),
        "model": "new",
        "network": {"widths": (64, 96, 128)},
        "codecs": {"depth": "ratio"},
        "batch": 64,
        "res": 32,
        "optim": {"name": "muon", "lr": 2e-3, "warmup": 40, "ema": 0.99},
        "augment": {"crop": 1.0, "colour": 0.0},
        "validations": 1,
        "validation_images": 16,
        "workers": 0,
        "threads": 1,
        "precision": "bf16",
    },
    arms=(*GRID, *FLOW, *PAPER, *LAWS, *SCALED, *CORRUPTIONS, *VARIANTS),
    judged={"depth": Judged("abs_rel", -1)},
    units=UNITS,
    baselines=tuple(f"{predicts}, uniform" for predicts in ("x0", "v", "eps", "flow")),
    curves=tuple(arm.name for arm in GRID),
)

ABOUT = f"""
# Depth by denoising, aligned with perception

Networks of 5.1 million weights from nothing on 8,192 procedural scenes of 32 x 32 pixels: {UNITS // 3} steps of
64 images or, with a pass of the averaged network for an on-policy corruption, {UNITS // 4}, which is the same
number of network evaluations. Names: kind of prediction, law over timesteps (10 % of it uniform), corruption of
truths. Written from `results.jsonl` by `python -m studies.addp_depth --table`.
"""


if __name__ == "__main__":
    command(STUDY, ABOUT, lambda quick: scenes(512 if quick else 8192))
