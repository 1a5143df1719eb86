"""Depth by ADDP: what do sampling and augmentation bring, for which prediction, by which law and corruption?

    python -m studies.addp_depth [--quick] [--jobs N] [--table]

Every arm trains a network of 5.1 million weights from nothing on 8,192 procedural scenes of 32 x 32 pixels, with the
same number of network evaluations. `--quick` trains two arms of one seed for a tenth of that, into a folder of its own.
"""

from __future__ import annotations

from pathlib import Path

from studies.addp_depth import law
from studies.aligned import LEARNING, command
from studies.arms import Arm, Judged, Study
from studies.scenes import scenes

HERE = Path(__file__).parent
UNITS = 3 * 360


def arm(
    predicts: str,
    timesteps: str = "uniform",
    kinds: str = "",
    *,
    name: str = "",
    shown: str = "",
    by: str = "sampling",
    schedule: str = "scaled-linear",
    strength_by: str = "lambda",
    **gt: object,
) -> Arm:
    """`predicts, law, kinds` with the words of `name` for what else is different; `shown` stands for a law's file."""
    words = [predicts, shown or timesteps, *([kinds.replace(",", " ")] if kinds else []), *([name] if name else [])]
    noise = {"schedule": schedule, "predicts": predicts, "timesteps": timesteps, "by": by}
    changes = {"noise": noise, "gt_augment": {"kinds": kinds, "schedule": strength_by, **gt}}
    return Arm(", ".join(words), changes, 4 if "on-policy" in kinds else 3)


def grid(predicts: str, **how: str) -> tuple[Arm, ...]:
    """Baseline, sampling, augmentation, both."""
    pairs = (("uniform", ""), ("ramp", ""), ("uniform", "on-policy"), ("ramp", "on-policy"))
    return tuple(arm(predicts, timesteps, kinds, **how) for timesteps, kinds in pairs)


def measured(kind: str) -> tuple[Arm, ...]:
    """By the law that `python -m studies.addp_depth.law` measured, where it did."""
    return (arm(kind, str(law.path(kind)), shown="measured"),) if law.path(kind).exists() else ()


CONSTANT = {"name": "constant", "strength_by": "constant"}
X0 = (
    *grid("x0"),
    arm("x0", "ramp", "on-policy", **CONSTANT),
    arm("x0", "ramp", "on-policy", name="t/T", strength_by="time"),
    arm("x0", "ramp", "on-policy-exact"),
    arm("x0", "ct", "on-policy", **CONSTANT),
    arm("x0", "ct2", "on-policy", **CONSTANT),
    arm("x0", "ct2", "drift,on-policy", **CONSTANT),
    *(arm("x0", timesteps) for timesteps in ("ct", "ct2", "converted", "logit-normal", "mode-shifted")),
    *measured("x0"),
    *(arm("x0", "ramp", kinds) for kinds in ("blur", "drift")),
    # As the paper words them: the square of the contribution, Gaussian blur.
    arm("x0", "uniform", "blur"),
    arm("x0", "ct2", "blur"),
    arm("x0", "ct2", "blur,drift"),
    *(arm("x0", name, by="scaling", name="scaling") for name in ("ramp", "min-snr", "p2")),
    arm("x0", "ramp", "on-policy", name="naive", target="naive"),
    arm("x0", "ramp", "blur", name="naive", target="naive"),
    arm("x0", "ramp", name="perturbed", perturb=0.1),
)
V = (
    *grid("v"),
    arm("v", "ct2"),
    arm("v", "ct2", "blur,drift"),
    arm("v", "ct2", "on-policy", **CONSTANT),
    arm("v", "converted"),
    *measured("v"),
)
FLOW = grid("flow", schedule="flow")[::3]

STUDY = Study(
    folder=HERE,
    recipe={
        **LEARNING,
        "recipe": "addp_depth",
        "tasks": ("depth",),
        "model": "new",
        "network": {"widths": (64, 96, 128)},
        "codecs": {"depth": "ratio"},
        "batch": 64,
        "res": 32,
    },
    arms=(*X0, *V, *grid("eps"), *FLOW),
    judged={"depth": Judged("abs_rel", -1)},
    units=UNITS,
    baselines=tuple(f"{predicts}, uniform" for predicts in ("x0", "v", "eps", "flow")),
    curves=tuple(arm.name for arm in (*grid("x0"), *grid("v"), *FLOW)),
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
