"""Noise that belongs to the item."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..runtime import item_seed
from .schedule import Level


def gaussian(shape: Sequence[int], seeds: Sequence[int]) -> Float[Tensor, "b ..."]:
    """Standard normal noise of `shape` for each seed, drawn on the CPU.

    Each item has its own generator, so its noise depends neither on the batch around it nor on the device.
    Seeds that agree in their low 32 bits give the same noise: torch's CPU generator reads no more of them.
    """
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(s)) for s in seeds])


def multi_resolution(shape: Sequence[int], seeds: Sequence[int], discount: float = 0.9) -> Float[Tensor, "b c h w"]:
    """Noise that is coarse too, of `shape` [c, h, w] for each seed: every value standard normal, neighbours alike.

    Normal noise of full, half, quarter, ... size down to one pixel, enlarged linearly, the k-th weighing `discount^k`
    (Whitaker 2023; Ke et al., CVPR 2024, Marigold, section 3.3). They divide by the measured deviation of the sum;
    here each value is divided by its own, known in closed form. A discount of 0 gives `gaussian`'s noise.
    """
    *front, height, width = shape
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    total, variance, weight = torch.zeros(len(seeds), *shape), torch.zeros(height, width), 1.0
    h, w = height, width
    while True:
        drawn = torch.stack([torch.randn(*front, h, w, generator=each) for each in generators])
        rows, columns = _enlarging(h, height), _enlarging(w, width)
        total += weight * (rows @ drawn @ columns.T)
        variance += weight**2 * torch.outer((rows**2).sum(1), (columns**2).sum(1))
        weight *= discount
        if max(h, w) == 1 or weight == 0:
            return total / variance.sqrt()
        h, w = (h + 1) // 2, (w + 1) // 2


NOISES: dict[str, Callable[[Sequence[int], Sequence[int]], Tensor]] = {
    "gaussian": gaussian,
    "multires": multi_resolution,
}
"""What an image can be noised with: `(shape, seeds) -> [b ...]`, of unit variance."""


def fresh_noise(shape: Sequence[int], seeds: Sequence[int]) -> Callable[[int], Float[Tensor, "b ..."]]:
    """`noise(step index)` for the samplers: each item's own, another one at every step, never that of its start."""
    return lambda index: gaussian(shape, [item_seed(seed, "fresh", index) for seed in seeds])


def add_noise(clean: Float[Tensor, "b ..."], noise: Float[Tensor, "b ..."], level: Level) -> Float[Tensor, "b ..."]:
    """x = alpha clean + sigma noise."""
    return over(level.alpha, clean) * clean + over(level.sigma, clean) * noise


def over(coefficient: Float[Tensor, "*b"], x: Float[Tensor, "b ..."]) -> Float[Tensor, "..."]:
    """One coefficient per item (or one for all), shaped to multiply x of any rank."""
    return coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim))


def _enlarging(small: int, large: int) -> Float[Tensor, "large small"]:
    """The matrix that enlarges `small` values linearly to `large`."""
    return F.interpolate(torch.eye(small)[None], large, mode="linear", align_corners=False)[0].T
