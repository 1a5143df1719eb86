"""What a frozen backbone says of pictures that never change is computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Features = list[Tensor]
"""Maps [b c h w], one for each place of the network."""
Name = tuple[str, bool]
"""A picture's key, and whether it is the mirror image."""


class FeatureCache:
    """Features of images by their names, in half precision on the CPU, up to `room` bytes; the rest is made anew.

    Only for pictures that are the same whenever their name comes: nothing may be augmented but by mirroring, which is
    a part of the name. Each is looked at alone and rounded also when it is not kept, so that its features do not hang
    on who came along, and a run that went on after a stop is the one that was never stopped. Half precision loses
    nothing that a head notices: 11 bits.
    """

    def __init__(self, compute: Callable[[Float[Tensor, "b 3 h w"], Sequence[str]], Features], room: int) -> None:
        self.compute = compute
        self.room = room
        self.kept: dict[Name, Features] = {}

    def __call__(self, images: Float[Tensor, "b 3 h w"], names: Sequence[Name], texts: Sequence[str]) -> Features:
        items = zip(images, names, texts, strict=True)
        found = [self.kept.get(name) or self._made(image[None], name, text) for image, name, text in items]
        # On the CPU autocast to bfloat16 refuses to join what is kept in half precision.
        with torch.autocast("cpu", enabled=False):
            return [torch.cat(maps).to(images) for maps in zip(*found, strict=True)]

    def _made(self, image: Float[Tensor, "1 3 h w"], name: Name, text: str) -> Features:
        maps = [one.to("cpu", torch.float16) for one in self.compute(image, [text])]
        size = sum(one.nbytes for one in maps)
        if size <= self.room:
            self.room -= size
            self.kept[name] = maps
        return maps
