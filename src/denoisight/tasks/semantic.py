"""Semantic segmentation: one class a pixel."""

import torch.nn.functional as F
from torch import Tensor

from ..annotations import IGNORE, Labels, mirrored_classes
from ..codecs.palette import Palette
from .base import Head, Reading, Task


def semantic(classes: tuple[str, ...] = ()) -> Task:
    """Raises `UsageError` without classes: a palette must know how many colours to keep apart."""
    return labelling("semantic", "semantic labels", classes)


def labelling(name: str, prompt: str, classes: tuple[str, ...]) -> Task:
    """One of `classes` a pixel, under a truth of the task's own name."""
    codec = Palette(classes)

    def loss(outputs: Tensor, truth: Labels, image: Tensor) -> Tensor:
        ids = truth.ids.masked_fill((truth.ids < 0) | (truth.ids >= len(classes)), IGNORE)
        total = F.cross_entropy(outputs, ids, ignore_index=IGNORE, reduction="sum")
        return total / (ids != IGNORE).sum().clamp(min=1)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        best, ids = outputs.float().softmax(-3).max(-3)
        return Reading(Labels(ids, classes), 1 - best)

    return Task(
        name, name, Labels, codec, prompt, Head(len(classes), loss, read, swapped=mirrored_classes(classes)), classes
    )
