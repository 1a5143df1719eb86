"""The denoise route: a canvas is denoised beside the image, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jaxtyping import Float
from torch import Tensor

from ..diffusion.noise import gaussian
from ..diffusion.samplers import SAMPLERS, Step
from ..errors import pick
from ..models.backbone import Backbone


def denoise(
    backbone: Backbone,
    images: Float[Tensor, "b 3 h w"],
    prompts: Sequence[str],
    seeds: Sequence[Sequence[int]],
    *,
    steps: int,
    sampler: str = "ddim",
) -> Iterator[Step]:
    """Yield every step for images in [0, 1] whose sides fit the backbone; the last one's `x` is the result.

    `seeds` holds one row an image and one seed a member of its ensemble: latents are [b * e, c, h, w], members
    of an image in a row. Each image is encoded once whatever the number of members.
    """
    members = len(seeds[0])
    cond = backbone.condition(images, prompts)
    start = gaussian(cond.image.shape[1:], [seed for row in seeds for seed in row]).to(cond.image)
    cond = cond.repeat(members) if members > 1 else cond
    # At the first level hardly any signal is left, so pure noise stands for it.
    yield from pick(SAMPLERS, sampler, "sampler")(backbone.denoise, start, cond, backbone.schedule, steps)
