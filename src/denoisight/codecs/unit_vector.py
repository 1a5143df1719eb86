"""Normals as a coloured picture."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Normals
from ..vectors import lengths, unit
from . import Canvas


@dataclass(frozen=True)
class UnitVector:
    """The three components are the three channels; whatever comes back is scaled to unit length.

    With `clip` components are first cut to [-1, 1], as in Marigold, which turns vectors that overshoot.
    """

    clip: bool = False

    def encode(self, truth: Normals, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        return Canvas(truth.vectors, truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Normals:
        """A canvas pixel of exactly zero has no direction; it decodes to one that faces the viewer."""
        pixels = pixels.float().clamp(-1, 1) if self.clip else pixels.float()
        facing = pixels.new_tensor([0.0, 0.0, 1.0])[:, None, None]
        length = lengths(pixels)
        vectors = torch.where(length[..., None, :, :] > 1e-6, unit(pixels), facing)
        return Normals(vectors, torch.ones_like(length, dtype=torch.bool))
