"""The shipped models, from nothing but procedural scenes."""

from .base import Augmentation, GtAugment, Noise, Optim, Recipe, Teaching

SCENES = "scenes:8000000"
"""More than any run sees, so that no scene comes twice."""

TASKS = (
    "depth", "normals", "semantic", "referring", "instances", "detection", "parts", "saliency", "boundary",
)  # fmt: skip
WEIGHTS = {
    "referring": 4.0,
    "semantic": 3.0,
    "depth": 2.0,
    "normals": 2.0,
    "parts": 0.5,
    "saliency": 0.5,
    "boundary": 0.5,
}
"""The first four are what the others are made of, or are hard."""


def embedded_create(tasks: tuple[str, ...] = (), data: str = "") -> Recipe:
    """denoisight train --recipe embedded-create

    A network of all roles taught images and captions only, without any truth, as Stable Diffusion is: where `embedded`
    and the studies of label efficiency begin. What is shipped had 4,070 steps, of two processes with a core each.
    """
    return Recipe(
        recipe="embedded-create",
        data=data or SCENES,
        model="new",
        network={"widths": (64, 96, 128), "words": 598, "text_length": 32, "attends": 2, "pooled": True},
        steps=60000,
        max_time="107m",
        batch=192,
        res=64,
        noise=Noise(schedule="scaled-linear-zero-terminal", predicts="x0"),
        teaching=Teaching(create=1.0, drop=0.05),
        optim=Optim(name="muon", lr=2e-3, warmup=200, ema=0.999),
        augment=Augmentation(flip=0.5, crop=1.0, colour=0.0),
        validations=16,
        validation_images=64,
        checkpoint_every=200,
        workers=1,
        threads=1,
        precision="bf16",
    )


def embedded(tasks: tuple[str, ...] = TASKS, data: str = "") -> Recipe:
    """denoisight train --recipe embedded --model runs/embedded-create

    One network for all roles: nine tasks asked for in words, and creation, four passes an image in every step. What is
    shipped had 86 minutes of it without the corruption of truths, and then all of it from there, with `--seed 1`.
    """
    return embedded_create((), data).model_copy(
        update={
            "recipe": "embedded",
            "tasks": tasks or TASKS,
            "model": "embedded-create",
            "network": {},
            "codecs": {"depth": "ratio"} if "depth" in (tasks or TASKS) else {},
            "max_time": "100m",
            "batch": 16,
            "noise": Noise(timesteps="ct", rho=0.4),
            "gt_augment": GtAugment(kinds=("on-policy",), schedule="constant"),
            "teaching": Teaching(create=0.15, passes=4, drop=0.05, balance=True, paraphrase=0.3, weights=WEIGHTS),
            "validations": 8,
        }
    )
