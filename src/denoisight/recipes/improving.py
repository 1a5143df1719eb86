"""The two trainings of Diff-2-in-1 (Zheng et al., ICLR 2025), between which pictures are created."""

from .base import Augmentation, Noise, Optim, Recipe
from .embedded import embedded_create


def warm_up(tasks: tuple[str, ...], data: str) -> Recipe:
    """denoisight train --recipe warm-up TASK --data DIR

    Heads on a frozen network that creates. Nothing is augmented, so its features are computed once for each picture.
    """
    return Recipe(
        recipe="warm-up",
        tasks=tasks,
        data=data,
        model="embedded-create",
        route="readout",
        backbone="frozen",
        steps=1500,
        batch=16,
        augment=Augmentation(flip=0.0, crop=1.0, colour=0.0),
        optim=Optim(lr=1e-3, ema=0.99),
        validations=6,
        predict_steps=1,
    )


def self_improve(tasks: tuple[str, ...], data: str) -> Recipe:
    """denoisight train --recipe self-improve TASK --model WARM_UP --data DIR --self-teaching.pictures CREATED

    The same heads go on learning, from created pictures too, on which their own average answers in place of a truth.
    The paper keeps 0.998 of the average over 80 pictures, in runs of some 65,000; here it keeps its half over a
    twentieth of the run, however long that is.
    """
    warm = warm_up(tasks, data)
    return warm.model_copy(update={"recipe": "self-improve", "optim": warm.optim.model_copy(update={"ema": 0.5})})


def adapt_creation(warm: Recipe, time: str) -> Recipe:
    """The network that a warm-up begins with learns to create pictures like its data, for so long, without a truth."""
    begun = {"model": warm.model, "network": {}, "noise": Noise(), "res": warm.res, "max_time": time, "batch": 32}
    machine = {"device": warm.device, "precision": warm.precision, "threads": warm.threads, "workers": warm.workers}
    return embedded_create((), warm.data).model_copy(update={**begun, **machine, "seed": warm.seed, "validations": 4})
