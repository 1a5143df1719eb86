"""A mask as black and white."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Mask
from . import Canvas


@dataclass(frozen=True)
class Binary:
    """White (1) inside, black (-1) outside; the grey between is read as a probability."""

    def encode(self, truth: Mask, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        level = torch.where(truth.valid, truth.probability * 2 - 1, 0.0)[..., None, :, :]
        return Canvas(level.expand(*level.shape[:-3], 3, *level.shape[-2:]), truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Mask:
        probability = ((pixels.float().mean(-3) + 1) / 2).clamp(0, 1)
        return Mask(probability, torch.ones_like(probability, dtype=torch.bool))
