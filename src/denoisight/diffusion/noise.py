"""Noise that belongs to the item."""

from collections.abc import Callable, Sequence

import torch
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


def fresh_noise(shape: Sequence[int], seeds: Sequence[int]) -> Callable[[int], Float[Tensor, "b ..."]]:
    """`noise(step index)` for the samplers: each item's own, another one at every step, never that of its start."""
    return lambda index: gaussian(shape, [item_seed(seed, "fresh", index) for seed in seeds])


def add_noise(clean: Float[Tensor, "b ..."], noise: Float[Tensor, "b ..."], level: Level) -> Float[Tensor, "b ..."]:
    """x = alpha clean + sigma noise."""
    return over(level.alpha, clean) * clean + over(level.sigma, clean) * noise


def over(coefficient: Float[Tensor, "*b"], x: Float[Tensor, "b ..."]) -> Float[Tensor, "..."]:
    """One coefficient per item (or one for all), shaped to multiply x of any rank."""
    return coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim))
