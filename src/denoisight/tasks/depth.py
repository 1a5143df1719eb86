"""Depth along z."""

from torch import Tensor

from ..annotations import Depth
from ..codecs import Codec
from ..codecs.affine import Affine
from ..codecs.ratio import Ratio
from ..errors import pick
from .base import Head, Reading, Task, masked_mean

CODECS: dict[str, Codec[Depth]] = {"affine": Affine(), "ratio": Ratio()}


def depth(classes: tuple[str, ...] = (), codec: str = "affine") -> Task:
    """As Marigold, up to scale and shift by default; "ratio" keeps near things apart and knows depth up to scale."""
    chosen = pick(CODECS, codec, "codec of depth")

    def loss(outputs: Tensor, truth: Depth, image: Tensor) -> Tensor:
        canvas = chosen.encode(truth, image)
        return masked_mean((outputs - canvas.pixels[..., :1, :, :]).abs().squeeze(-3), canvas.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(chosen.decode(outputs.expand(*outputs.shape[:-3], 3, *outputs.shape[-2:]), image), None)

    return Task("depth", "depth", Depth, chosen, "depth", Head(1, loss, read))
