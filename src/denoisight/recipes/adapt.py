"""Teach a trained model a task from a folder of labelled images."""

from .base import Noise, Optim, Recipe


def adapt(tasks: tuple[str, ...], data: str) -> Recipe:
    """denoisight train TASK --data DIR

    All weights of the embedded model are trained on, at half again its resolution: about a quarter of an hour on
    two cores. Tried on CamVid's validation images for three minutes each: this, larger pictures (128) with larger
    batches (16) and half the rate, and the readout route, which comes out even where its rate is doubled. No law over
    timesteps, with or without on-policy corruption, is better on both CamVid and a kitchen's depth
    (`studies/addp_adapt_camvid`, `studies/addp_adapt_kitchen`).
    """
    return Recipe(
        recipe="adapt",
        tasks=tasks,
        data=data,
        res=96,
        batch=8,
        noise=Noise(timesteps="ct", rho=0.0),
        optim=Optim(lr=1e-3),
        predict_steps=1,
    )
