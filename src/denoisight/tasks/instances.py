"""Instance segmentation: every thing by itself, of whatever class."""

from __future__ import annotations

from torch import Tensor

from ..annotations import Labels
from ..codecs.centres import Centres
from .base import Head, Reading, Task, masked_mean


def instances(classes: tuple[str, ...] = ()) -> Task:
    codec = Centres()

    def loss(outputs: Tensor, truth: Labels, image: Tensor) -> Tensor:
        canvas = codec.encode(truth, image)
        return masked_mean((outputs - canvas.pixels).abs().mean(-3), canvas.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(codec.decode(outputs, image), None)

    return Task("instances", "instances", Labels, codec, "instances", Head(3, loss, read, sideways=(1,)))
