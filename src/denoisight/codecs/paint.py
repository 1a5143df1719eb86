"""A mask as paint on the image: the thing meant in one flat colour, everything else as it was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Mask
from ..vectors import lengths
from . import Canvas

RED = (1.0, -1.0, -1.0)


@dataclass(frozen=True)
class Paint:
    """Marks things as an edit of the image, as InstructDiffusion does (Geng et al., CVPR 2024, section 3.1).

    A pixel is read as painted where its colour lies nearer to the paint than to the image's own, by `margin` (in the
    cube [-1, 1]^3; negative: even where it is a little farther). What had the paint's colour before cannot be told
    apart; with the default margin it counts as painted. The margin is fixed on training scenes (`studies/paint`, mean
    IoU 0.91), and nothing about reading is learnt.
    """

    colour: tuple[float, float, float] = RED
    margin: float = -0.2

    def encode(self, truth: Mask, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        painted = torch.where(truth.inside[..., None, :, :], self._paint(image), image * 2 - 1)
        return Canvas(torch.where(truth.valid[..., None, :, :], painted, 0.0), truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Mask:
        pixels, before = pixels.float(), (image * 2 - 1).float()
        to_paint = lengths(pixels - self._paint(pixels))
        to_image = lengths(pixels - before)
        # One half at the margin, sure of it where the colours are an edge of the cube apart.
        probability = (0.5 + (to_image - to_paint - self.margin) / 4).clamp(0, 1)
        return Mask(probability, torch.ones_like(probability, dtype=torch.bool))

    def _paint(self, like: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "3 1 1"]:
        return like.new_tensor(self.colour)[:, None, None]
