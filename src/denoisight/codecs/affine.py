"""Depth as a grey picture."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Depth, Gauge
from ..errors import DataError
from . import Canvas

Space = Literal["depth", "disparity", "log"]

_GAUGE: dict[Space, Gauge] = {"depth": "affine", "disparity": "affine-disparity", "log": "affine-log"}


@dataclass(frozen=True)
class Affine:
    """Scales depth, 1/depth or log depth to [-1, 1] and repeats it in three channels.

    Without `range_m` each image is scaled by its own quantiles over valid pixels, 2 % to 98 % as Marigold does
    (Ke et al., CVPR 2024, eq. 4): what comes back is in [0, 1], known up to scale and shift. With `range_m`
    (near, far) the scale is fixed and metres come back. Values beyond the ends are clipped.
    """

    space: Space = "depth"
    low: float = 0.02
    high: float = 0.98
    range_m: tuple[float, float] | None = None

    def encode(self, truth: Depth, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        """Raises `DataError` where the truth's gauge does not determine this space."""
        if self.range_m is not None and truth.gauge != "metres":
            raise DataError(f"Depth known up to {truth.gauge!r} has no place among metres; use metric depth.")
        values = truth.up_to(_GAUGE[self.space]).values
        low, high = self._ends(values, truth.valid)
        unit = (values - low) / (high - low).clamp(min=1e-6)
        pixels = torch.where(truth.valid, unit.clamp(0, 1) * 2 - 1, 0.0)
        return Canvas(grey(pixels), truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Depth:
        unit = (pixels.float().mean(-3) + 1) / 2
        valid = torch.ones_like(unit, dtype=torch.bool)
        if self.range_m is None:
            return Depth(unit.clamp(0, 1), valid, _GAUGE[self.space])
        low, high = self._ends(unit, valid)
        return Depth(self._out_of(low + unit.clamp(0, 1) * (high - low)), valid, "metres")

    def _ends(self, values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """What maps to -1 and to 1, shaped to broadcast over the pixels."""
        if self.range_m is not None:
            ends = values.new_tensor([self.range_m])
            told = Depth(ends, torch.ones_like(ends, dtype=torch.bool)).up_to(_GAUGE[self.space]).values
            return told.min(), told.max()
        seen = torch.where(valid, values, torch.nan).flatten(-2)
        ends = torch.nanquantile(seen, values.new_tensor([self.low, self.high]), dim=-1)
        low, high = torch.nan_to_num(ends)[..., None, None]
        return low, high

    def _out_of(self, values: Tensor) -> Tensor:
        if self.space == "depth":
            return values
        return 1 / values if self.space == "disparity" else values.exp()


def grey(channel: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b 3 h w"]:
    return channel[..., None, :, :].expand(*channel.shape[:-2], 3, *channel.shape[-2:])
