"""Which pixels enter a loss: mostly those that a head is unsure of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..runtime import generator

UNSURE = 0.7
"""The share of the chosen pixels that are the most uncertain; the rest are drawn at random (Bae et al., ICCV 2021)."""


def sampled(
    unsure: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"], share: float, seeds: Sequence[tuple[int, str, int]]
) -> Bool[Tensor, "b h w"]:
    """The share of each image's valid pixels that is chosen, rounded; `seeds` are (run, key, step), one an image."""
    chance = torch.stack([torch.rand(unsure.shape[1:], generator=generator(*seed)) for seed in seeds]).to(unsure)
    count = (share * valid.flatten(1).sum(1)).round().long()
    first = (UNSURE * count).round().long()
    certain = _highest(unsure, valid, first)
    return certain | _highest(chance, valid & ~certain, count - first)


def _highest(scores: Float[Tensor, "b h w"], among: Bool[Tensor, "b h w"], count: Tensor) -> Bool[Tensor, "b h w"]:
    """The `count[i]` pixels of image i with the highest scores, of equal ones the first."""
    order = torch.where(among, scores, -1.0).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < count[:, None]).view_as(among) & among
