"""Features out of the middle of a U-Net, by the name of the place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..diffusion.schedule import Level
from ..errors import UsageError
from .backbone import Backbone, Condition


class Taps:
    """Runs a backbone once and returns what left the named blocks: "down.0", "mid", "up.1", ...

    `channels` and `strides` (in pixels) are published per place, so that heads are built from them and never
    from a table of known networks. Hooks are set for one pass and listen only to their own thread.
    """

    def __init__(self, backbone: Backbone, places: Sequence[str] = ()) -> None:
        self._backbone = backbone
        self.places = tuple(places) or default_places(backbone.unet)
        known = _blocks(backbone.unet)
        if unknown := [place for place in self.places if place not in known]:
            raise UsageError(f"No place named {', '.join(unknown)} in this U-Net. Known: {', '.join(known)}.")
        self.channels, self.strides = self._measure()

    def __call__(self, x: Float[Tensor, "b c h w"], level: Level, cond: Condition) -> list[Tensor]:
        """Feature maps [b c_i h_i w_i] in the order of `places`."""
        caught: dict[str, Tensor] = {}
        owner = threading.get_ident()

        def listen(place: str):
            def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Any, ...]) -> None:
                if threading.get_ident() == owner:
                    caught[place] = output if isinstance(output, Tensor) else output[0]

            return hook

        blocks = _blocks(self._backbone.unet)
        with ExitStack() as hooks:
            for place in self.places:
                hooks.callback(blocks[place].register_forward_hook(listen(place)).remove)
            self._backbone(x, level, cond)
        return [caught[place] for place in self.places]

    @torch.no_grad()
    def _measure(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """One pass over the smallest image tells channels and strides."""
        backbone = self._backbone
        side = backbone.granularity * 2
        x = torch.zeros(1, backbone.latents.channels, *(side // backbone.latents.stride,) * 2, device=backbone.device)
        cond = Condition(x, backbone.text([""]))
        level = backbone.schedule.at(torch.zeros(1, dtype=torch.long, device=backbone.device))
        features = self(x, level, cond)
        return tuple(f.shape[1] for f in features), tuple(side // f.shape[-1] for f in features)


def default_places(unet: nn.Module) -> tuple[str, ...]:
    """The middle and every way up: features that have seen the whole picture, coarse to fine."""
    return ("mid", *(f"up.{i}" for i in range(len(unet.up_blocks))))


def _blocks(unet: nn.Module) -> dict[str, nn.Module]:
    down = {f"down.{i}": block for i, block in enumerate(unet.down_blocks)}
    return down | {"mid": unet.mid_block} | {f"up.{i}": block for i, block in enumerate(unet.up_blocks)}
