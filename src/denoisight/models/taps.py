"""Features out of the middle of a U-Net, by the name of the place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..diffusion.schedule import Level
from ..errors import UsageError
from .backbone import Backbone, Condition

EVERY = "every"


class Taps:
    """Runs a backbone once and returns what left the named places: "in", "down.0.1", "mid", "up.2", ...

    `places` may be the one word "every", or empty for `default_places`. `channels` and `strides` (in pixels) are
    published per place, so that heads are built from them and never from a table of known networks. Hooks are set for
    one pass and listen only to their own thread.
    """

    def __init__(self, backbone: Backbone, places: Sequence[str] = ()) -> None:
        self._backbone = backbone
        unet = backbone.unet
        self.places = every_place(unet) if tuple(places) == (EVERY,) else tuple(places) or default_places(unet)
        known = _modules(unet)
        if unknown := [place for place in self.places if place not in known]:
            raise UsageError(f"No place named {', '.join(unknown)} in this U-Net. Known: {', '.join(known)}.")
        self.channels, self.strides = self._measure()

    def __call__(self, x: Float[Tensor, "b c h w"], level: Level, cond: Condition) -> list[Tensor]:
        """Feature maps [b c_i h_i w_i] in the order of `places`."""
        return self._listen(self._backbone.unet, lambda: self._backbone(x, level, cond))

    def _listen(self, unet: nn.Module, run: Callable[[], object]) -> list[Tensor]:
        caught: dict[str, Tensor] = {}
        owner = threading.get_ident()

        def listen(place: str):
            def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Any, ...]) -> None:
                if threading.get_ident() == owner:
                    caught[place] = output if isinstance(output, Tensor) else output[0]

            return hook

        modules = _modules(unet)
        with ExitStack() as hooks:
            for place in self.places:
                hooks.callback(modules[place].register_forward_hook(listen(place)).remove)
            run()
        return [caught[place] for place in self.places]

    @torch.no_grad()
    def _measure(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Channels and strides, by a pass of a copy without weights.

        Such a copy costs neither memory nor arithmetic: a real pass of Stable Diffusion takes seconds on a CPU, and
        its own weights may not be there yet.
        """
        config, stride = self._backbone.unet.config, self._backbone.latents.stride
        with torch.device("meta"):
            bare = type(self._backbone.unet).from_config(config)
            side = self._backbone.granularity * 2 // stride
            x, t = torch.empty(1, config.in_channels, side, side), torch.empty(1)
            words = torch.empty(1, 1, config.cross_attention_dim)
            features = self._listen(bare, lambda: bare(x, t, words))
        return tuple(f.shape[1] for f in features), tuple(stride * side // f.shape[-1] for f in features)


def default_places(unet: nn.Module) -> tuple[str, ...]:
    """The middle and every way up: features that have seen the whole picture, coarse to fine."""
    return ("mid", *(f"up.{i}" for i in range(len(unet.up_blocks))))


def every_place(unet: nn.Module) -> tuple[str, ...]:
    """Every layer and every change of size, each feature once (Diff-2-in-1: Zheng et al., ICLR 2025).

    Of a way up that ends in an upsampler the last layer is left out: the upsampler's output is the same, only larger.
    """
    modules = _modules(unet)
    replaced = {f"up.{i}.{len(block.resnets) - 1}" for i, block in enumerate(unet.up_blocks) if block.upsamplers}
    return tuple(name for name in modules if name.count(".") != 1 and name not in replaced)


def _modules(unet: nn.Module) -> dict[str, nn.Module]:
    """What may be listened to: whole blocks ("up.1"), their layers ("up.1.0"), their changes of size ("down.0.down").

    A layer is its attention, or where it has none its convolutions.
    """
    found: dict[str, nn.Module] = {"in": unet.conv_in}
    for i, block in enumerate(unet.down_blocks):
        found |= _inside(f"down.{i}", block, "down", block.downsamplers)
    found["mid"] = unet.mid_block
    for i, block in enumerate(unet.up_blocks):
        found |= _inside(f"up.{i}", block, "up", block.upsamplers)
    return found


def _inside(name: str, block: nn.Module, change: str, changes: nn.ModuleList | None) -> dict[str, nn.Module]:
    layers = getattr(block, "attentions", block.resnets)
    found: dict[str, nn.Module] = {name: block} | {f"{name}.{i}": layer for i, layer in enumerate(layers)}
    return found | ({f"{name}.{change}": changes[0]} if changes else {})
