"""Features out of the middle of a U-Net, by the name of the place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
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

    With `names` the network is told these instead of what the condition says, a token each, and how much each position
    attends to each of them comes as one map more, of as many channels, behind those of the places (VPD: Zhao et al.,
    ICCV 2023).
    """

    def __init__(self, backbone: Backbone, places: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        self._backbone = backbone
        self.names = tuple(names)
        unet = backbone.unet
        self.places = every_place(unet) if tuple(places) == (EVERY,) else tuple(places) or default_places(unet)
        known = _modules(unet)
        if unknown := [place for place in self.places if place not in known]:
            raise UsageError(f"No place named {', '.join(unknown)} in this U-Net. Known: {', '.join(known)}.")
        self.channels, self.strides = self._measure()

    def __call__(self, x: Float[Tensor, "b c h w"], level: Level, cond: Condition) -> list[Tensor]:
        """Feature maps [b c_i h_i w_i] in the order of `places`, then that of the names."""
        backbone = self._backbone
        if self.names:
            # The last token of a prompt has seen all of it.
            words = backbone.text(self.names)[:, -1]
            cond = Condition(cond.image, words.expand(len(x), *words.shape))
        return self._listen(backbone.unet, lambda: backbone(x, level, cond), x.shape[-2:], cond.text)

    def _listen(
        self, unet: nn.Module, run: Callable[[], object], size: Sequence[int], words: Float[Tensor, "b n d"]
    ) -> list[Tensor]:
        """What the places say in one run on latents of this size [h w] that is told these words.

        Plain hooks only: one that asks for keyword arguments gets none where another thread takes its own away.
        """
        caught: dict[str, Tensor] = {}
        attended: list[Tensor] = []
        owner = threading.get_ident()

        def listen(place: str):
            def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Any, ...]) -> None:
                if threading.get_ident() == owner:
                    caught[place] = output if isinstance(output, Tensor) else output[0]

            return hook

        def watch(attention: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if threading.get_ident() == owner:
                attended.append(_attended(attention, inputs[0], words, size))

        modules = _modules(unet)
        with ExitStack() as hooks:
            for place in self.places:
                hooks.callback(modules[place].register_forward_hook(listen(place)).remove)
            if self.names:
                for attention in (module for name, module in unet.named_modules() if name.endswith(".attn2")):
                    hooks.callback(attention.register_forward_hook(watch).remove)
            run()
        features = [caught[place] for place in self.places]
        return [*features, _averaged(attended)] if self.names else features

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
            words = torch.empty(1, max(len(self.names), 1), config.cross_attention_dim)
            features = self._listen(bare, lambda: bare(x, t, words), (side, side), words)
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


def _attended(
    attention: nn.Module, hidden: Float[Tensor, "b p c"], words: Float[Tensor, "b n d"], size: Sequence[int]
) -> Float[Tensor, "b n h w"]:
    """How much each position attends to each word, the mean over heads; asked beside the network's own pass."""
    query, key = (attention.head_to_batch_dim(x) for x in (attention.to_q(hidden), attention.to_k(words)))
    weights = attention.get_attention_scores(query, key).unflatten(0, (-1, attention.heads)).mean(1)
    shrink = round((size[0] * size[1] / weights.shape[1]) ** 0.5)
    return weights.mT.unflatten(-1, (size[0] // shrink, size[1] // shrink))


def _averaged(maps: Sequence[Float[Tensor, "b n _ _"]]) -> Float[Tensor, "b n h w"]:
    """Over layers, at the finest of their sizes; 1 where nothing is attended to more than anything else."""
    finest = max(m.shape[-1] for m in maps), max(m.shape[-2] for m in maps)
    sized = [F.interpolate(m, finest[::-1], mode="bilinear", align_corners=False) for m in maps]
    return torch.stack(sized).mean(0) * maps[0].shape[1]
