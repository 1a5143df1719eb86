"""Boxes as frames painted on the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from ..vectors import lengths
from .boxes import BoxPicture, apart

PAINTS = (
    (1.0, -1.0, 1.0),
    (-1.0, 1.0, -1.0),
    (-1.0, 1.0, 1.0),
    (-1.0, -1.0, 1.0),
    (1.0, 1.0, -1.0),
    (1.0, -1.0, -1.0),
)
"""Magenta, green, cyan, blue, yellow, red: first those that are rare in pictures and far apart."""

AROUND = np.ones((3, 3), int)
COMPANY = 3
"""A painted pixel counts where so many of the nine around it, itself included, have its paint: specks are no boxes."""


@dataclass(frozen=True)
class Frames(BoxPicture):
    """Frames every box in a flat colour, as an edit of the image (after Gan et al., "InstructCV", ICLR 2024).

    Frames lie inside their boxes, `thickness` of the longer side wide and at least a pixel; of two that cross, the
    smaller box's is on top, and boxes smaller than two frames are filled. A box takes the first of `paints` colours
    that no larger box less than two frames away has, so that most frames are magenta and neighbours can be told apart
    without counting; where all are taken, the least taken one comes again.

    A pixel is read as painted where its colour lies nearer to a paint than to the image's own, by `margin` in the cube
    [-1, 1]^3. Painted pixels of one colour that are less than two frames apart are one box, whose score is the share of
    its frame that is painted in whatever colour. Boxes below `least_seen` go, and those whose IoU with a better one is
    above `most_overlap`; at most `most` are read, the largest. What cannot be told apart again: boxes hidden under the
    frames of smaller ones, and neighbours of one colour. Things of all classes are one class here. Thickness and margin
    are fixed on training scenes (`studies/frames`), and nothing about reading is learnt.
    """

    thickness: float = 1 / 24
    margin: float = 0.1
    least_seen: float = 0.5
    most_overlap: float = 0.8
    most: int = 64
    paints: int = len(PAINTS)

    def _draw(self, xyxy: Float[Tensor, "n 4"], image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
        canvas, width = image * 2 - 1, self._width(image)
        area = (xyxy[:, 2:] - xyxy[:, :2]).prod(-1)
        falling = xyxy[area.argsort(descending=True, stable=True)]
        for box, paint in zip(falling, self._choose(falling, width), strict=True):
            canvas = torch.where(_frame(box, width, image), image.new_tensor(PAINTS[paint])[:, None, None], canvas)
        return canvas

    def _choose(self, xyxy: Float[Tensor, "n 4"], width: int) -> list[int]:
        """Each box's paint; larger boxes come first."""
        # Half a pixel more, since corners are rounded.
        low, high = xyxy[:, :2] - width - 0.5, xyxy[:, 2:] + width + 0.5
        near = (low[:, None] <= high).all(-1) & (low <= high[:, None]).all(-1)
        chosen: list[int] = []
        for row in near.tolist():
            taken = [paint for paint, beside in zip(chosen, row, strict=False) if beside]
            chosen.append(min(range(self.paints), key=taken.count))
        return chosen

    def _find(
        self, canvas: Float[Tensor, "3 h w"], image: Float[Tensor, "3 h w"]
    ) -> tuple[Float[Tensor, "n 4"], Float[Tensor, " n"]]:
        paints, width = canvas.new_tensor(PAINTS[: self.paints]), self._width(image)
        away, which = lengths(canvas - paints[:, :, None, None]).min(0)
        painted = away + self.margin < lengths(canvas - (image * 2 - 1))
        found = [box for paint in range(len(paints)) for box in _pieces(painted & (which == paint), width)]
        xyxy = canvas.new_tensor(found).reshape(-1, 4)
        area = (xyxy[:, 2:] - xyxy[:, :2]).prod(-1)
        xyxy = xyxy[area.argsort(descending=True, stable=True)[: self.most]]
        seen = canvas.new_tensor([float(painted[_frame(box, width, image)].float().mean()) for box in xyxy])
        order = seen.argsort(descending=True, stable=True)
        order = order[seen[order] >= self.least_seen]
        kept = order[apart(xyxy[order], self.most_overlap)]
        return xyxy[kept], seen[kept]

    def _width(self, image: Float[Tensor, "3 h w"]) -> int:
        return max(1, round(self.thickness * max(image.shape[-2:])))


def _frame(box: Float[Tensor, "4"], width: int, image: Float[Tensor, "3 h w"]) -> Bool[Tensor, "h w"]:
    """A box's outermost pixels, inwards; at least one pixel, however small the box."""
    height, across = image.shape[-2:]
    left, top, right, bottom = box.round().long().tolist()
    left, top = min(max(left, 0), across - 1), min(max(top, 0), height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    frame = torch.zeros(height, across, dtype=torch.bool, device=image.device)
    frame[top:bottom, left:right] = True
    frame[top + width : max(bottom - width, 0), left + width : max(right - width, 0)] = False
    return frame


def _pieces(mask: Bool[Tensor, "h w"], width: int) -> list[tuple[int, int, int, int]]:
    """The boxes xyxy of a mask's pieces, of which those less than two frames apart, as where another one crosses, are
    one."""
    pixels = mask.cpu().numpy()
    pixels &= ndimage.convolve(pixels.astype(int), AROUND, mode="constant") >= COMPANY
    label, _ = ndimage.label(ndimage.binary_dilation(pixels, AROUND, width), AROUND)
    places = ndimage.find_objects(label * pixels)
    return [(x.start, y.start, x.stop, y.stop) for y, x in filter(None, places)]
