"""Semantic segmentation: one class a pixel."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import IGNORE, Labels
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

    return Task(name, name, Labels, codec, prompt, Head(len(classes), loss, read, near=near), classes)


def near(outputs: Float[Tensor, "b k h w"], truth: Labels, reach: float) -> Float[Tensor, "b k h w"]:
    """Without the classes that no known pixel of `truth` has within `reach`, in shares of the longer side; 1 is
    anywhere. Where nothing is known, nothing is ruled out."""
    known = torch.where(truth.valid, truth.ids, outputs.shape[-3])
    has = F.one_hot(known, outputs.shape[-3] + 1).movedim(-1, -3)[..., :-1, :, :].float()
    if reach >= 1:
        found = has.amax((-2, -1), keepdim=True)
    else:
        pixels = round(reach * max(truth.size))
        found = F.max_pool2d(has, 2 * pixels + 1, stride=1, padding=pixels)
    ruled_out = (found == 0) & (found > 0).any(-3, keepdim=True)
    return outputs.masked_fill(ruled_out, torch.finfo(outputs.dtype).min)
