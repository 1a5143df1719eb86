"""Boxes as a picture of where they are and how large."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import Boxes, stack
from . import Canvas
from .centres import grid, peaks


@dataclass(frozen=True)
class CentreBoxes:
    """Centre and size maps (Zhou et al., "Objects as points", arXiv 1904.07850, section 3) in three channels.

    The first is -1 outside all boxes and runs from 0 to 1 inside, highest in the middle; the others give, all over a
    box, its width and height in shares of the picture's, from -1 (none) to 1 (all). Smaller boxes are drawn over larger
    ones. Reading takes peaks of the first channel above `least_peak` as boxes, the peak's height as the score, best
    first and at most `most`; one whose IoU with a better one is above `most_overlap` goes. Things of all classes are
    one class here, and of boxes that share a middle one is read.
    """

    least_peak: float = 0.3
    most: int = 64
    most_overlap: float = 0.7

    def encode(self, truth: Boxes, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        xyxy = truth.xyxy.reshape(-1, *truth.xyxy.shape[-2:])
        known = truth.valid.reshape(-1, truth.valid.shape[-1])
        drawn = torch.stack([self._draw(b[k], truth.size) for b, k in zip(xyxy, known, strict=True)]).to(image)
        pixels = drawn.reshape(*truth.valid.shape[:-1], *drawn.shape[1:])
        return Canvas(pixels, torch.ones_like(pixels[..., 0, :, :], dtype=torch.bool))

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Boxes:
        flat = pixels.float().reshape(-1, *pixels.shape[-3:])
        found = stack([self._find(canvas) for canvas in flat])
        shape = pixels.shape[:-3]
        return replace(found, **{name: t.reshape(*shape, *t.shape[1:]) for name, t in found.tensors().items()})

    def _draw(self, xyxy: Float[Tensor, "n 4"], size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
        height, width = size
        canvas = xyxy.new_tensor([-1.0, 0.0, 0.0])[:, None, None].expand(3, height, width).clone()
        y, x = (axis + 0.5 for axis in grid(canvas[0]))
        area = (xyxy[:, 2:] - xyxy[:, :2]).prod(-1)
        for left, top, right, bottom in xyxy[area.argsort(descending=True, stable=True)]:
            w, h = right - left, bottom - top
            # As narrow as the box, and never narrower than a pixel, so that every box has a peak.
            dx, dy = (x - (left + right) / 2) / w.clamp(min=1), (y - (top + bottom) / 2) / h.clamp(min=1)
            heat = torch.exp(-8 * (dx**2 + dy**2))
            inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
            filled = torch.stack([heat, *(torch.full_like(heat, 2 * float(s) - 1) for s in (w / width, h / height))])
            canvas = torch.where(inside, filled, canvas)
        return canvas

    def _find(self, canvas: Float[Tensor, "3 h w"]) -> Boxes:
        size = canvas.shape[-2:]
        places, scores = peaks(canvas[0], self.least_peak, self.most)
        # Everything is read from the pixels around a peak, so that noise and the pixel grid matter less.
        y, x = (axis + 0.5 for axis in grid(canvas[0]))
        top = canvas[0] - F.avg_pool2d(canvas[:1], 5, 1, 2, count_include_pad=False)[0]
        maps = torch.stack([x, y, (canvas[1] + 1) / 2 * size[1], (canvas[2] + 1) / 2 * size[0]])
        around = F.unfold(torch.cat([maps, top[None]])[None], 3, padding=1).unflatten(1, (5, 9))[0]
        at = around[..., places[:, 0] * size[1] + places[:, 1]]
        weight = at[4].clamp(min=1e-3)
        middle_x, middle_y = (at[:2] * weight).sum(1) / weight.sum(0)
        w, h = at[2:4].median(1).values
        ends = canvas.new_tensor([size[1], size[0], size[1], size[0]])
        xyxy = torch.stack([middle_x - w / 2, middle_y - h / 2, middle_x + w / 2, middle_y + h / 2], -1)
        xyxy = xyxy.clamp(min=0).minimum(ends)
        kept = _apart(xyxy, self.most_overlap)
        ids = torch.zeros(len(kept), dtype=torch.long, device=canvas.device)
        valid = torch.ones_like(ids, dtype=torch.bool)
        return Boxes(xyxy[kept], ids, scores[kept].clamp(0, 1), valid, (size[0], size[1]))


def _apart(xyxy: Float[Tensor, "n 4"], most_overlap: float) -> list[int]:
    """Which boxes stay where one that is too like an earlier one goes."""
    low = torch.maximum(xyxy[:, None, :2], xyxy[:, :2])
    high = torch.minimum(xyxy[:, None, 2:], xyxy[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (xyxy[:, 2:] - xyxy[:, :2]).clamp(min=0).prod(-1)
    alike = shared > most_overlap * (area[:, None] + area - shared)
    kept: list[int] = []
    for i in range(len(xyxy)):
        if area[i] > 0 and not alike[i, kept].any():
            kept.append(i)
    return kept
