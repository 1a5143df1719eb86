"""The denoise route: a canvas is denoised beside the image, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..diffusion.noise import fresh_noise, gaussian
from ..diffusion.prediction import Denoiser
from ..diffusion.samplers import SAMPLERS, Step
from ..diffusion.schedule import timesteps
from ..errors import UsageError, pick
from ..models.backbone import Backbone, Condition


def denoise(
    backbone: Backbone,
    cond: Condition,
    seeds: Sequence[Sequence[int]],
    *,
    steps: int,
    sampler: str = "ddim",
    denoiser: Denoiser | None = None,
    start: Float[Tensor, "n c h2 w2"] | None = None,
    stop_at: float = 0.0,
    **walking: Any,
) -> Iterator[Step]:
    """Yield every step for images and words as the backbone takes them; the last one's `x` is the result.

    `seeds` holds one row an image and one seed a member of its ensemble: latents are [b * e, c, h, w], members
    of an image in a row. `denoiser` stands for the backbone's own, as where it is guided, and is given all of them.
    `start` stands for the noise drawn from the seeds; `walking` goes to the sampler (spacing, compat).
    `stop_at` is a noise level in [0, 1): the walk is planned over all its steps, and left once the next level is below
    it. Its last `x` is the last clean estimate then.
    """
    members = len(seeds[0])
    shape, each = cond.image.shape[1:], [seed for row in seeds for seed in row]
    if start is not None and start.shape != (len(each), *shape):
        raise UsageError(
            f"Start latents of shape {tuple(start.shape)} came, but {(len(each), *shape)} fit these images; "
            "give as many as images times members, all in one batch."
        )
    x = gaussian(shape, each).to(cond.image) if start is None else start
    cond = cond.repeat(members) if members > 1 else cond
    # At the first level hardly any signal is left, so pure noise stands for it.
    walk = pick(SAMPLERS, sampler, "sampler")
    chosen = denoiser or backbone.denoise
    grid = timesteps(backbone.schedule, steps, walking.get("spacing", "trailing"))
    last = steps_taken(grid, stop_at, backbone.schedule.num_timesteps) - 1
    for step in walk(chosen, x, cond, backbone.schedule, steps, noise=fresh_noise(shape, each), **walking):
        if step.index == last < steps - 1:
            yield replace(step, x=step.clean)
            return
        yield step


def steps_taken(grid: Sequence[int], stop_at: float, num_timesteps: int) -> int:
    """How many steps of a walk over these descending timesteps are taken when it is left at a noise level in [0, 1)."""
    return 1 + sum(t >= stop_at * num_timesteps for t in grid[1:])
