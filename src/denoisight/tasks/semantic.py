"""Semantic segmentation: one class a pixel."""

import torch.nn.functional as F
from torch import Tensor

from ..annotations import IGNORE, Labels
from ..codecs.palette import Palette
from .base import Head, Reading, Task


def semantic(classes: tuple[str, ...] = ()) -> Task:
    """Raises `UsageError` without classes: a palette must know how many colours to keep apart."""
    codec = Palette(classes)

    def loss(outputs: Tensor, truth: Labels, image: Tensor) -> Tensor:
        ids = truth.ids.masked_fill((truth.ids < 0) | (truth.ids >= len(classes)), IGNORE)
        total = F.cross_entropy(outputs, ids, ignore_index=IGNORE, reduction="sum")
        return total / (ids != IGNORE).sum().clamp(min=1)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        best, ids = outputs.float().softmax(-3).max(-3)
        return Reading(Labels(ids, classes), 1 - best)

    return Task("semantic", "semantic", Labels, codec, "semantic labels", Head(len(classes), loss, read), classes)
