"""The shipped model, from nothing but procedural scenes."""

from .base import Augmentation, Noise, Optim, Recipe

SCENES = "scenes:8000000"
"""More than any run sees, so that no scene comes twice."""


def embedded(tasks: tuple[str, ...] = ("depth", "normals", "semantic"), data: str = "") -> Recipe:
    """denoisight train depth,normals,semantic --recipe embedded"""
    return Recipe(
        recipe="embedded",
        tasks=tasks or ("depth", "normals", "semantic"),
        data=data or SCENES,
        model="new",
        steps=20000,
        max_time="84m",
        batch=8,
        res=64,
        noise=Noise(schedule="scaled-linear", predicts="x0", timesteps="ct"),
        optim=Optim(lr=1e-3, warmup=200, ema=0.999),
        augment=Augmentation(flip=0.5, crop=1.0, colour=0.0),
        validations=8,
        validation_images=64,
        checkpoint_every=500,
        workers=1,
        threads=1,
    )
