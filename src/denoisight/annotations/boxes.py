"""Rectangles around things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..errors import UsageError
from .base import IGNORE, Annotation
from .pixels import window_of


@dataclass(frozen=True, eq=False)
class Boxes(Annotation):
    """Rectangles xyxy in pixels, half open, each with a class and a score; `valid` is False for padding."""

    xyxy: Float[Tensor, "*b n 4"]
    ids: Int64[Tensor, "*b n"]
    scores: Float[Tensor, "*b n"]
    valid: Bool[Tensor, "*b n"]
    image_size: tuple[int, int]
    classes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, xyxy: Sequence[Sequence[float]], ids: Sequence[int], size: tuple[int, int], classes: tuple[str, ...] = ()
    ) -> Boxes:
        """Those of a list, all of them sure."""
        count = len(ids)
        return cls(
            torch.tensor(xyxy, dtype=torch.float32).reshape(-1, 4),
            torch.tensor(ids, dtype=torch.int64),
            torch.ones(count),
            torch.ones(count, dtype=torch.bool),
            size,
            classes,
        )

    @property
    def size(self) -> tuple[int, int]:
        return self.image_size

    def flip(self) -> Boxes:
        x0, y0, x1, y1 = self.xyxy.unbind(-1)
        width = self.image_size[1]
        return replace(self, xyxy=torch.stack([width - x1, y0, width - x0, y1], dim=-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Boxes:
        """Boxes are cut at the window's edge; those wholly outside become padding."""
        window_of(self.image_size, top, left, height, width)
        moved = self.xyxy - self.xyxy.new_tensor([left, top, left, top])
        cut = torch.minimum(moved.clamp(min=0), moved.new_tensor([width, height, width, height]))
        seen = (cut[..., 2] > cut[..., 0]) & (cut[..., 3] > cut[..., 1])
        return replace(self, xyxy=cut, valid=self.valid & seen, image_size=(height, width))

    def resize(self, height: int, width: int) -> Boxes:
        sy, sx = height / self.image_size[0], width / self.image_size[1]
        return replace(self, xyxy=self.xyxy * self.xyxy.new_tensor([sx, sy, sx, sy]), image_size=(height, width))

    def without(self, pixels: Bool[Tensor, "*b h w"]) -> Boxes:
        raise UsageError("Boxes cannot be known in part; take a confidence of 0.")

    def padded(self, count: int) -> Boxes:
        """As a list of so many."""
        short = count - len(self.ids)
        return replace(
            self,
            xyxy=F.pad(self.xyxy, (0, 0, 0, short)),
            ids=F.pad(self.ids, (0, short), value=IGNORE),
            scores=F.pad(self.scores, (0, short)),
            valid=F.pad(self.valid, (0, short)),
        )


def box_instances(ids: Int64[Tensor, "h w"]) -> Boxes:
    """The tight box of every instance, in the order of their ids; 0 and `IGNORE` are none. All of one class."""
    found = [i for i in ids.unique().tolist() if i not in (0, IGNORE)]
    rows = []
    for i in found:
        y, x = (ids == i).nonzero().unbind(1)
        rows.append([int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1])
    return Boxes.of(rows, [0] * len(found), (ids.shape[0], ids.shape[1]))


def box_iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of boxes xyxy; 0 for boxes without an area."""
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = _area(a)[:, None] + _area(b) - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-9), 0.0)


def _area(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1)
