"""Windows and sizes of maps whose last two axes are pixels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError


def resize_image(image: Float[Tensor, "*b c h w"], height: int, width: int) -> Float[Tensor, "*b c h2 w2"]:
    """Bilinear with anti-aliasing when shrinking. The same size comes back untouched."""
    if size_of(image) == (height, width):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    out = F.interpolate(flat, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return out.reshape(*image.shape[:-2], height, width)


def size_of(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[-2], pixels.shape[-1]


def window_of(size: tuple[int, int], top: int, left: int, height: int, width: int) -> tuple[Any, ...]:
    h, w = size
    if top < 0 or left < 0 or height < 1 or width < 1 or top + height > h or left + width > w:
        raise DataError(f"A {width}x{height} window at column {left}, row {top} does not lie in {w}x{h} pixels.")
    return (..., slice(top, top + height), slice(left, left + width))


def resize_valid(values: Tensor, valid: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Interpolate [*b c h w] values so that invalid pixels lend nothing to their neighbours."""
    if size_of(values) == (height, width):
        return values, valid
    weight = valid[..., None, :, :].to(values.dtype)
    share = resize_image(weight, height, width)
    mixed = resize_image(torch.where(weight > 0, values, 0.0), height, width)
    kept = share > 0.5
    return torch.where(kept, mixed / share.clamp(min=1e-6), 0.0), kept[..., 0, :, :]


def resize_nearest(pixels: Tensor, height: int, width: int) -> Tensor:
    if size_of(pixels) == (height, width):
        return pixels
    h, w = size_of(pixels)
    rows = ((torch.arange(height, device=pixels.device) + 0.5) * h / height).long().clamp(max=h - 1)
    columns = ((torch.arange(width, device=pixels.device) + 0.5) * w / width).long().clamp(max=w - 1)
    return pixels[..., rows[:, None], columns]
