"""What a learner sees of a picture that its teacher sees whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..data.augment import tinted
from ..runtime import generator

BLOTS = 8
"""Fields a side of a picture, that are hidden or not."""


def with_gaps(features: Sequence[Tensor], share: float, keys: Sequence[str], seed: int, step: int) -> Sequence[Tensor]:
    """Without a share of their channels, others for each picture and step; the rest is grown in proportion."""
    if not share:
        return features
    draws = [generator(seed, f"gaps {key}", step) for key in keys]
    seen = [
        torch.stack([torch.rand(maps.shape[1], generator=draw) for draw in draws]).to(maps) >= share
        for maps in features
    ]
    return [maps * kept[..., None, None] / (1 - share) for maps, kept in zip(features, seen, strict=True)]


def varied(
    image: Float[Tensor, "3 h w"], colour: float, hidden: float, draw: torch.Generator
) -> Float[Tensor, "3 h w"]:
    """With other colours, and a share of it hidden."""
    factors = torch.rand(3, generator=draw).tolist()
    return blotted(tinted(image, colour, factors) if colour else image, hidden, draw)


def blotted(image: Float[Tensor, "3 h w"], share: float, draw: torch.Generator) -> Float[Tensor, "3 h w"]:
    """Grey in this share of `BLOTS` x `BLOTS` fields."""
    if not share:
        return image
    fields = torch.rand(1, 1, BLOTS, BLOTS, generator=draw) < share
    hidden = F.interpolate(fields.float(), image.shape[-2:])[0].to(image.device) > 0
    return torch.where(hidden, 0.5, image)
