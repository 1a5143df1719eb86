"""The two trainings of Diff-2-in-1 (Zheng et al., ICLR 2025), between which pictures are created."""

from typing import Literal

from .base import Augmentation, Noise, Optim, Recipe, Teaching, override
from .embedded import embedded_create

Route = Literal["readout", "denoise"]


def warm_up(tasks: tuple[str, ...], data: str, route: Route = "readout") -> Recipe:
    """denoisight train --recipe warm-up TASK --data DIR

    Heads on a frozen network that creates. Pictures are mirrored and else left as they are, so its features are
    computed once for each picture and its mirror image. They are those of a network that expects a little noise, which
    tell more of scenes than the paper's of one that expects none. By the route that denoises all of the network learns,
    and goes on learning to create pictures like the data, which it would forget else.
    """
    recipe = Recipe(
        recipe="warm-up",
        tasks=tasks,
        data=data,
        model="embedded-create",
        route=route,
        steps=1500,
        batch=16,
        augment=Augmentation(flip=0.5, crop=1.0, colour=0.0),
        optim=Optim(lr=1e-3, ema=0.99),
        validations=6,
        predict_steps=1,
    )
    own = (
        {"backbone": "frozen", "read_level": 0.1}
        if route == "readout"
        else {"teaching": Teaching(create=0.5, drop=0.05)}
    )
    return recipe.model_copy(update=own)


def self_improve(tasks: tuple[str, ...], data: str, route: Route = "readout") -> Recipe:
    """denoisight train --recipe self-improve TASK --model WARM_UP --data DIR --self-teaching.pictures CREATED

    The same weights go on learning, from created pictures too, on which their own average answers in place of a truth.
    The paper keeps 0.998 of the average over 80 pictures, in runs of some 65,000; here it keeps its half over a
    twentieth of the run, however long that is.
    """
    warm = warm_up(tasks, data, route)
    own = {"recipe": "self-improve", "read_level": None, "optim": warm.optim.model_copy(update={"ema": 0.5})}
    return warm.model_copy(update=own)


def adapt_creation(warm: Recipe, time: str) -> Recipe:
    """The network that a warm-up begins with learns to create pictures like its data, for so long, without a truth."""
    begun = {"model": warm.model, "network": {}, "noise": Noise(), "res": warm.res, "batch": 32}
    machine = {"device": warm.device, "precision": warm.precision, "threads": warm.threads, "workers": warm.workers}
    own = {"seed": warm.seed, "allow_pickle": warm.allow_pickle, "validations": 4}
    recipe = embedded_create((), warm.data).model_copy(update={**begun, **machine, **own})
    return override(recipe, {"max_time": time})
