"""Neck and heads: from tapped features to full-resolution outputs, built from published channels and strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LEVELS = 5
FINEST = 2
"""A pyramid has `LEVELS` levels, or as many as there are until its stride is `FINEST` pixels."""


class Neck(nn.Module):
    """Brings every tapped feature to one width, adds them from coarse to fine (Lin et al., FPN, CVPR 2017), and goes on
    upwards by learned doublings, each half as wide.

    Returns a pyramid, coarse to fine, of at most `levels` maps; a single one is that of the finest tapped stride.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 128, levels: int = LEVELS) -> None:
        super().__init__()
        tapped = sorted(set(strides), reverse=True)
        # Of two features with one stride the later, deeper on the way up, is added last.
        self.groups = [[i for i, own in enumerate(strides) if own == stride] for stride in tapped]
        self.inward = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.strides = tapped[-levels:]
        self.widths = [width] * len(self.strides)
        self.coarser = nn.ModuleList(_settled(nn.Conv2d(width, width, 3, padding=1)) for _ in self.strides[:-1])
        self.mix = _settled(nn.Conv2d(width, width, 3, padding=1))
        self.finer = nn.ModuleList()
        while len(self.strides) < levels and self.strides[-1] >= 2 * FINEST:
            wide, narrow = self.widths[-1], self.widths[-1] // 2
            self.finer.append(_settled(nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)))
            self.strides.append(self.strides[-1] // 2)
            self.widths.append(narrow)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps [b widths[i] h w] at `strides[i]`."""
        totals: list[Tensor] = []
        for group in self.groups:
            total = totals[-1] if totals else None
            for i in group:
                total = _onto(self.inward[i](features[i]), total)
            totals.append(total)  # type: ignore[arg-type]
        mixers = [*self.coarser, self.mix]
        pyramid = [mix(total) for mix, total in zip(mixers, totals[-len(mixers) :], strict=True)]
        for double in self.finer:
            pyramid.append(double(pyramid[-1]))
        return pyramid


class PixelHead(nn.Module):
    """A task's own view of the pyramid, of which each position paints its own `stride` x `stride` pixels; two
    convolutions with the image at hand sharpen them.

    The view is of the finest level, which holds the coarser ones, in the light of what these say of the whole picture.
    Of a pyramid of one level it is that level itself.
    """

    def __init__(self, widths: Sequence[int], stride: int, channels: int, hidden: int = 16) -> None:
        super().__init__()
        *coarser, width = widths
        self.own = nn.Conv2d(width, width, 1) if coarser else None
        self.whole = nn.Linear(sum(coarser), width) if coarser else None
        self.paint = nn.Sequential(nn.Conv2d(width, hidden * stride**2, 1), nn.PixelShuffle(stride))
        self.sharpen = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(hidden + 3, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
        )

    def view(self, pyramid: Sequence[Tensor]) -> Float[Tensor, "b c h w"]:
        """What the task sees, at the finest stride."""
        *coarser, finest = pyramid
        if self.own is None or self.whole is None:
            return finest
        pooled = torch.cat([level.mean((-2, -1)) for level in coarser], dim=1)
        return F.silu(self.own(finest) + self.whole(pooled)[..., None, None])

    def forward(self, view: Float[Tensor, "b c h w"], image: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b k H W"]:
        painted = self.paint(view)
        if painted.shape[-2:] != image.shape[-2:]:
            painted = F.interpolate(painted, image.shape[-2:], mode="bilinear", align_corners=False)
        return self.sharpen(torch.cat([painted, image * 2 - 1], dim=1))


class Exchange(nn.Module):
    """Adds to each task's view what the others offer, as far as the task lets it in: o_k = v_k + g(v_k) sum of f_t(v_t)
    over the other tasks t, with gates g in (0, 1) (PAD-Net: Xu et al., CVPR 2018, section 3.3).
    """

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.offer = nn.ModuleDict({name: nn.Conv2d(width, width, 1) for name in names})
        self.gate = nn.ModuleDict({name: nn.Conv2d(width, width, 1) for name in names})

    def forward(self, views: Mapping[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """`views` of all tasks, each [b c h w] -> those of the tasks asked for."""
        offers = {name: self.offer[name](view) for name, view in views.items()}
        total = torch.stack(list(offers.values())).sum(0)
        return {name: views[name] + self.gate[name](views[name]).sigmoid() * (total - offers[name]) for name in tasks}


class Heads(nn.Module):
    """One shared neck and one head a task, `outputs` naming each task's channels; with `exchange` tasks tell each other
    what they see before their last layers.

    `levels` is how many the neck's pyramid has at most: 1 in models saved before there was a pyramid.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        outputs: Mapping[str, int],
        levels: int = LEVELS,
        exchange: bool = False,
    ) -> None:
        super().__init__()
        self.neck = Neck(channels, strides, levels=levels)
        widths, stride = self.neck.widths, self.neck.strides[-1]
        self.heads = nn.ModuleDict({name: PixelHead(widths, stride, count) for name, count in outputs.items()})
        self.exchange = Exchange(tuple(outputs), widths[-1]) if exchange and len(outputs) > 1 else None

    def forward(
        self, features: Sequence[Tensor], image: Float[Tensor, "b 3 h w"], tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Task name -> [b k h w] at the image's own resolution."""
        pyramid = self.neck(features)
        views = {name: self.heads[name].view(pyramid) for name in (self.heads if self.exchange else tasks)}
        if self.exchange:
            views = self.exchange(views, tasks)
        return {name: self.heads[name](views[name], image) for name in tasks}


def _settled(convolution: nn.Module) -> nn.Sequential:
    """With a norm and a bend behind it."""
    return nn.Sequential(convolution, nn.GroupNorm(8, convolution.out_channels), nn.SiLU())  # type: ignore[arg-type]


def _onto(level: Tensor, coarser: Tensor | None) -> Tensor:
    """A level with what came before it, brought to its size."""
    if coarser is None:
        return level
    if coarser.shape[-2:] != level.shape[-2:]:
        coarser = F.interpolate(coarser, level.shape[-2:], mode="bilinear", align_corners=False)
    return level + coarser
