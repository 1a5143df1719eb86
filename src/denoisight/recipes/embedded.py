"""The shipped models, from nothing but procedural scenes."""

from .base import Augmentation, Noise, Optim, Recipe, Teaching

SCENES = "scenes:8000000"
"""More than any run sees, so that no scene comes twice."""

TASKS = ("depth", "normals", "semantic", "referring", "instances", "saliency", "boundary")


def embedded(tasks: tuple[str, ...] = TASKS, data: str = "") -> Recipe:
    """denoisight train --recipe embedded

    One network for all roles: three of seven tasks and, nearly always, creation from the caption in every step.
    """
    return Recipe(
        recipe="embedded",
        tasks=tasks or TASKS,
        data=data or SCENES,
        model="new",
        network={"widths": (64, 96, 128), "words": 598, "text_length": 32, "attends": 2, "pooled": True},
        steps=40000,
        max_time="92m",
        batch=12,
        res=64,
        noise=Noise(schedule="scaled-linear-zero-terminal", predicts="x0", timesteps="ct", rho=0.4),
        teaching=Teaching(create=0.25, passes=4, drop=0.05, paraphrase=0.3),
        optim=Optim(name="muon", lr=2e-3, warmup=200, ema=0.999),
        augment=Augmentation(flip=0.5, crop=1.0, colour=0.0),
        validations=8,
        validation_images=64,
        checkpoint_every=500,
        workers=1,
        threads=1,
        precision="bf16",
    )


def embedded_create(tasks: tuple[str, ...] = (), data: str = "") -> Recipe:
    """denoisight train --recipe embedded-create

    The same network taught images and captions only, without any truth: where studies of label efficiency begin.
    """
    return embedded((), data).model_copy(
        update={
            "recipe": "embedded-create",
            "tasks": (),
            "batch": 96,
            "teaching": Teaching(create=1.0, drop=0.05),
        }
    )
