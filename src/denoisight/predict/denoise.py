"""The denoise route: a canvas is denoised beside the image, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..diffusion.noise import fresh_noise, gaussian
from ..diffusion.prediction import Denoiser
from ..diffusion.samplers import SAMPLERS, Step
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
    **walking: Any,
) -> Iterator[Step]:
    """Yield every step for images and words as the backbone takes them; the last one's `x` is the result.

    `seeds` holds one row an image and one seed a member of its ensemble: latents are [b * e, c, h, w], members
    of an image in a row. `denoiser` stands for the backbone's own, as where it is guided, and is given all of them.
    `start` stands for the noise drawn from the seeds; `walking` goes to the sampler (spacing, compat).
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
    yield from walk(chosen, x, cond, backbone.schedule, steps, noise=fresh_noise(shape, each), **walking)
