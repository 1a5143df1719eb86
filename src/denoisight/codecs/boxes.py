"""Boxes as a picture: what such codecs share, and the picture of where boxes are and how large."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import Boxes, box_iou, stack
from . import Canvas
from .centres import grid, peaks

STEEP = 8.0
"""How fast the bell over a box falls: to e^-2 in the middle of a side."""


class BoxPicture:
    """Draws boxes one picture at a time; boxes that are not valid are not drawn, and every pixel says something."""

    def encode(self, truth: Boxes, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        if truth.valid.ndim == 1:
            pixels = self._draw(truth.xyxy[truth.valid].to(image.device), image).to(image)
        else:
            pixels = torch.stack([self.encode(truth[i], image[i]).pixels for i in range(len(truth.valid))])
        return Canvas(pixels, torch.ones_like(pixels[..., 0, :, :], dtype=torch.bool))

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Boxes:
        if pixels.ndim > 3:
            return stack([self.decode(p, i) for p, i in zip(pixels, image, strict=True)])
        xyxy, scores = self._find(pixels.float(), image.float())
        ids = torch.zeros(len(xyxy), dtype=torch.long, device=pixels.device)
        size = (pixels.shape[-2], pixels.shape[-1])
        return Boxes(xyxy, ids, scores.clamp(0, 1), torch.ones_like(ids, dtype=torch.bool), size)

    def _draw(self, xyxy: Float[Tensor, "n 4"], image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
        raise NotImplementedError

    def _find(
        self, canvas: Float[Tensor, "3 h w"], image: Float[Tensor, "3 h w"]
    ) -> tuple[Float[Tensor, "n 4"], Float[Tensor, " n"]]:
        """Boxes and their scores, best first."""
        raise NotImplementedError


@dataclass(frozen=True)
class CentreBoxes(BoxPicture):
    """Centre and size maps (Zhou et al., "Objects as points", arXiv 1904.07850, section 3) in three channels.

    The first is -1 outside all boxes and runs from 0 to 1 inside, highest in the middle; the others give, all over a
    box, its width and height in shares of the picture's, from -1 (none) to 1 (all). Smaller boxes are drawn over larger
    ones. Reading takes peaks of the first channel above `least_peak` as boxes, the peak's height as the score, best
    first and at most `most`; one whose IoU with a better one is above `most_overlap` goes. Things of all classes are
    one class here, and of boxes that share a middle one is read.
    """

    least_peak: float = 0.3
    most: int = 64
    most_overlap: float = 0.6

    def _draw(self, xyxy: Float[Tensor, "n 4"], image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
        height, width = image.shape[-2:]
        canvas = xyxy.new_tensor([-1.0, 0.0, 0.0])[:, None, None].expand(3, height, width).clone()
        y, x = (axis + 0.5 for axis in grid(canvas[0]))
        area = (xyxy[:, 2:] - xyxy[:, :2]).prod(-1)
        for left, top, right, bottom in xyxy[area.argsort(descending=True, stable=True)]:
            w, h = right - left, bottom - top
            # As narrow as the box, and never narrower than a pixel, so that every box has a peak.
            dx, dy = (x - (left + right) / 2) / w.clamp(min=1), (y - (top + bottom) / 2) / h.clamp(min=1)
            heat = torch.exp(-STEEP * (dx**2 + dy**2))
            inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
            filled = torch.stack([heat, *(torch.full_like(heat, 2 * float(s) - 1) for s in (w / width, h / height))])
            canvas = torch.where(inside, filled, canvas)
        return canvas

    def _find(
        self, canvas: Float[Tensor, "3 h w"], image: Float[Tensor, "3 h w"]
    ) -> tuple[Float[Tensor, "n 4"], Float[Tensor, " n"]]:
        size = canvas.shape[-2:]
        places, scores = peaks(canvas[0], self.least_peak, self.most)
        rows, columns = places.unbind(1)
        padded = F.pad(canvas[None], (1, 1, 1, 1), mode="replicate")
        around = padded.unfold(2, 3, 1).unfold(3, 3, 1)[0, :, rows, columns]
        shares = ((around[1:].flatten(2).median(-1).values + 1) / 2).clamp(0, 1)
        w, h = shares * canvas.new_tensor([[size[1]], [size[0]]])
        # The logarithm of a bell falls to both sides by how far the middle is away.
        bell = around[0].clamp(0.01, 1).log()
        dx = w**2 * (bell[:, 1, 2] - bell[:, 1, 0]) / (4 * STEEP)
        dy = h**2 * (bell[:, 2, 1] - bell[:, 0, 1]) / (4 * STEEP)
        x, y = columns + 0.5 + dx, rows + 0.5 + dy
        ends = canvas.new_tensor([size[1], size[0], size[1], size[0]])
        xyxy = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
        xyxy = xyxy.clamp(min=0).minimum(ends)
        # Where the middle is far away, a smaller box cuts through the bell.
        real = ((dx.abs() < 1.5 + w / 8) & (dy.abs() < 1.5 + h / 8)).nonzero().flatten()
        kept = real[apart(xyxy[real], self.most_overlap)]
        return xyxy[kept], scores[kept]


def apart(xyxy: Float[Tensor, "n 4"], most_overlap: float) -> list[int]:
    """Which boxes stay where one that is too like an earlier one goes."""
    alike = box_iou(xyxy, xyxy) > most_overlap
    seen = (xyxy[:, 2:] > xyxy[:, :2]).all(-1)
    kept: list[int] = []
    for i in range(len(xyxy)):
        if seen[i] and not alike[i, kept].any():
            kept.append(i)
    return kept
