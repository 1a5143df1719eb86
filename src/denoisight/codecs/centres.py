"""Single things as a picture of where they are and where their middles lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ..annotations import IGNORE, Labels
from . import Canvas


@dataclass(frozen=True)
class Centres:
    """Centre and offset maps (Cheng et al., "Panoptic-DeepLab", CVPR 2020, section 3.1) in three channels.

    The first is -1 outside all things and runs from 0 to 1 inside, highest where a thing's visible pixels have
    their middle; the others point from each pixel to that middle, right and down, in shares of `reach` times the
    picture's longer side. Reading takes peaks of the first channel above `least_peak` as things, best first and
    at most `most`, and gives each inside pixel to the thing whose middle it points to most nearly. Ids count
    from 1, 0 is no thing.
    """

    reach: float = 0.25
    least_peak: float = 0.3
    most: int = 64

    def encode(self, truth: Labels, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        flat = truth.ids.reshape(-1, *truth.size)
        drawn = torch.stack([self._draw(ids) for ids in flat]).to(image)
        pixels = drawn.reshape(*truth.ids.shape[:-2], 3, *truth.size)
        return Canvas(torch.where(truth.valid[..., None, :, :], pixels, 0.0), truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Labels:
        flat = pixels.float().reshape(-1, *pixels.shape[-3:])
        found = torch.stack([self._find(canvas) for canvas in flat])
        return Labels(found.reshape(*pixels.shape[:-3], *pixels.shape[-2:]), ())

    def _draw(self, ids: Int64[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
        y, x = grid(ids)
        present, place = ids.unique(return_inverse=True)
        inside = (ids > 0) & (ids != IGNORE)
        count = torch.zeros(len(present), device=ids.device).index_add_(
            0, place.flatten(), torch.ones_like(x).flatten()
        )
        middle_x, middle_y = (
            (torch.zeros_like(count).index_add_(0, place.flatten(), axis.flatten()) / count)[place] for axis in (x, y)
        )
        dx, dy = middle_x - x, middle_y - y
        # As wide as the thing: a large thing's peak is seen from afar, a small one's stays its own.
        width = (count / torch.pi).sqrt().clamp(min=1.0)[place] / 2
        heat = torch.exp(-(dx**2 + dy**2) / (2 * width**2))
        span = self.reach * max(ids.shape)
        canvas = torch.stack([heat, (dx / span).clamp(-1, 1), (dy / span).clamp(-1, 1)])
        return torch.where(inside, canvas, canvas.new_tensor([-1.0, 0.0, 0.0])[:, None, None])

    def _find(self, canvas: Float[Tensor, "3 h w"]) -> Int64[Tensor, "h w"]:
        heat = canvas[0]
        ids = torch.zeros(heat.shape, dtype=torch.long, device=canvas.device)
        inside = heat > -0.5
        places, _ = peaks(heat, self.least_peak, self.most)
        if not len(places):
            return torch.where(inside, 1, ids)
        y, x = grid(heat)
        span = self.reach * max(heat.shape)
        aim = torch.stack([y + canvas[2] * span, x + canvas[1] * span], -1)
        nearest = torch.cdist(aim.reshape(1, -1, 2), places.to(aim)[None]).argmin(-1).reshape(heat.shape)
        return torch.where(inside, nearest + 1, ids)


def peaks(heat: Float[Tensor, "h w"], least: float, most: int) -> tuple[Int64[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Row and column of the local maxima above `least`, and their heights, the highest first and at most `most`.

    The map is smoothed a little, so that a noisy top is one peak.
    """
    smooth = F.avg_pool2d(heat[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    peak = (smooth == F.max_pool2d(smooth[None, None], 5, 1, 2)[0, 0]) & (smooth > least)
    heights, order = smooth[peak].sort(descending=True, stable=True)
    return peak.nonzero()[order[:most]], heights[:most]


def grid(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, as floats."""
    height, width = pixels.shape
    rows = torch.arange(height, device=pixels.device, dtype=torch.float32)
    columns = torch.arange(width, device=pixels.device, dtype=torch.float32)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return y, x
