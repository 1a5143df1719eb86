"""Neck and head: from tapped features to full-resolution outputs, built from published channels and strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Neck(nn.Module):
    """Brings every tapped feature to one width and adds them from coarse to fine (Lin et al., FPN, CVPR 2017).

    Returns one map at the finest stride.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 128) -> None:
        super().__init__()
        # Stable, so that of two features with one stride the later (deeper on the way up) is added last.
        self.order = sorted(range(len(strides)), key=lambda i: -strides[i])
        self.stride = min(strides)
        self.width = width
        self.inward = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU())

    def forward(self, features: Sequence[Tensor]) -> Float[Tensor, "b c h w"]:
        total: Tensor | None = None
        for i in self.order:
            level = self.inward[i](features[i])
            if total is not None:
                level = level + F.interpolate(total, level.shape[-2:], mode="bilinear", align_corners=False)
            total = level
        return self.mix(total)


class PixelHead(nn.Module):
    """Each position paints its own `stride` x `stride` pixels; two convolutions with the image at hand sharpen them."""

    def __init__(self, width: int, stride: int, channels: int, hidden: int = 16) -> None:
        super().__init__()
        self.paint = nn.Sequential(nn.Conv2d(width, hidden * stride**2, 1), nn.PixelShuffle(stride))
        self.sharpen = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(hidden + 3, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
        )

    def forward(self, shared: Float[Tensor, "b c h w"], image: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b k H W"]:
        painted = self.paint(shared)
        if painted.shape[-2:] != image.shape[-2:]:
            painted = F.interpolate(painted, image.shape[-2:], mode="bilinear", align_corners=False)
        return self.sharpen(torch.cat([painted, image * 2 - 1], dim=1))


class Heads(nn.Module):
    """One shared neck and one head a task, `outputs` naming each task's channels."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], outputs: Mapping[str, int]) -> None:
        super().__init__()
        self.neck = Neck(channels, strides)
        self.heads = nn.ModuleDict(
            {name: PixelHead(self.neck.width, self.neck.stride, count) for name, count in outputs.items()}
        )

    def forward(
        self, features: Sequence[Tensor], image: Float[Tensor, "b 3 h w"], tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Task name -> [b k h w] at the image's own resolution."""
        shared = self.neck(features)
        return {name: self.heads[name](shared, image) for name in tasks}
