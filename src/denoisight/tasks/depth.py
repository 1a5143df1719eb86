"""Depth along z, up to scale and shift."""

from torch import Tensor

from ..annotations import Depth
from ..codecs.affine import Affine
from .base import Head, Reading, Task, masked_mean


def depth(classes: tuple[str, ...] = ()) -> Task:
    codec = Affine()

    def loss(outputs: Tensor, truth: Depth, image: Tensor) -> Tensor:
        canvas = codec.encode(truth, image)
        return masked_mean((outputs - canvas.pixels[..., :1, :, :]).abs().squeeze(-3), canvas.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(codec.decode(outputs.expand(*outputs.shape[:-3], 3, *outputs.shape[-2:]), image), None)

    return Task("depth", "depth", Depth, codec, "depth", Head(1, loss, read))
