"""Lengths and directions of the vectors in a map's pixels, the channels before the last two axes.

`torch.linalg.vector_norm` and `F.normalize` take many times as long on a CPU where the axis is not the last.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def lengths(vectors: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b h w"]:
    """Of vectors of floats. Never quite zero, so that there is a slope everywhere: 0 at a vector of zeros."""
    tiny = torch.finfo(vectors.dtype).tiny
    return vectors.square().sum(-3).clamp(min=tiny).sqrt()


def unit(vectors: Float[Tensor, "*b c h w"], shortest: float = 1e-12) -> Float[Tensor, "*b c h w"]:
    """Of length 1, but for those shorter than `shortest`, which are divided by that."""
    return vectors / lengths(vectors).clamp(min=shortest)[..., None, :, :]


def widened(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """In float64; on the CPU where their device has none (MPS)."""
    return (values.cpu() if values.device.type == "mps" else values).double()
