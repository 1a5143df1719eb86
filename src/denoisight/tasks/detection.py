"""Detection: a box around every thing, of whatever class, with a score."""

from __future__ import annotations

from torch import Tensor

from ..annotations import Boxes
from ..codecs.boxes import CentreBoxes
from .base import Head, Reading, Task, masked_mean


def detection(classes: tuple[str, ...] = ()) -> Task:
    codec = CentreBoxes()

    def loss(outputs: Tensor, truth: Boxes, image: Tensor) -> Tensor:
        canvas = codec.encode(truth, image)
        return masked_mean((outputs - canvas.pixels).abs().mean(-3), canvas.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(codec.decode(outputs, image), None)

    return Task("detection", "boxes", Boxes, codec, "boxes", Head(3, loss, read))
