"""Depth as a grey picture of ratios: how many times as far as the middle of the picture's depths."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Depth
from ..errors import DataError
from . import Canvas
from .affine import grey


@dataclass(frozen=True)
class Ratio:
    """log(depth / median) by the log of `span`: -1 is span times nearer than the median pixel, 1 span times farther.

    What comes back is depth up to scale, its unit the median. Equal steps of grey are equal ratios, so that an error
    costs near and far things the same relative depth (the scale-invariant logarithm of Eigen et al., NeurIPS 2014);
    in `Affine` it costs the near ones more. On the procedural scenes, whose fields reach far beyond their middle,
    clipping at the default span costs 1.2 % of depth in the mean.
    """

    span: float = 8.0

    def encode(self, truth: Depth, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        """Raises `DataError` for depth that is not known up to scale."""
        if truth.gauge not in ("metres", "scale"):
            raise DataError(
                f"Depth known up to {truth.gauge!r} has no ratios to draw; use metric depth, or --codecs.depth affine."
            )
        depth = truth.values.clamp(min=1e-6).log()
        seen = torch.where(truth.valid, depth, torch.nan).flatten(-2)
        middle = torch.nan_to_num(torch.nanmedian(seen, dim=-1).values)[..., None, None]
        pixels = ((depth - middle) / log(self.span)).clamp(-1, 1)
        return Canvas(grey(torch.where(truth.valid, pixels, 0.0)), truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Depth:
        level = pixels.float().mean(-3).clamp(-1, 1)
        return Depth((level * log(self.span)).exp(), torch.ones_like(level, dtype=torch.bool), "scale")
