"""What labels hold over a set of images: histograms of each image's annotation, and distances between their means.

Every function here that takes an annotation gives the shares of its valid pixels in bins, NaN where it has none, so
that each image has the same say whatever its size.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Depth, Labels, Normals

OCTAVES = torch.linspace(-4, 4, 65)
"""Edges of bins of log2(depth / the image's median); what lies beyond counts in the last ones."""
SPREADS = torch.linspace(-4, 4, 65)
"""Edges of bins of (value - median) / mean absolute deviation from it."""
DEGREES = torch.linspace(0, 180, 37)
"""Edges of bins of the angle between a normal and the way to the viewer; only noise is beyond 90 degrees."""
BANDS, SECTORS = 8, 16
"""The sphere in bands of equal height and sectors of equal angle: cells of equal area."""


def depth_ratios(depth: Depth) -> Float[Tensor, " 64"]:
    """log2 of depth over the image's median depth, for depth in metres or up to a factor."""
    values = depth.values[depth.valid & (depth.values > 0)].double()
    return _histogram((values / values.median()).log2() if len(values) else values, OCTAVES)


def depth_spreads(depth: Depth) -> Float[Tensor, " 64"]:
    """Values less the median over their mean absolute deviation: for depth known up to scale and shift."""
    values = depth.values[depth.valid].double()
    if not len(values):
        return _histogram(values, SPREADS)
    centred = values - values.median()
    return _histogram(centred / centred.abs().mean().clamp(min=1e-9), SPREADS)


def normal_cells(normals: Normals) -> Float[Tensor, " 128"]:
    """Directions in cells of the sphere that have one area each."""
    x, y, z = normals.vectors[:, normals.valid].double()
    band = ((z + 1) / 2 * BANDS).long().clamp(0, BANDS - 1)
    sector = ((torch.atan2(y, x) / (2 * math.pi) + 0.5) * SECTORS).long().clamp(0, SECTORS - 1)
    return _shares(torch.bincount(band * SECTORS + sector, minlength=BANDS * SECTORS))


def normal_slants(normals: Normals) -> Float[Tensor, " 36"]:
    """The angle between normals and the way to the viewer, in degrees."""
    x, y, z = normals.vectors[:, normals.valid].double()
    return _histogram(torch.rad2deg(torch.atan2(torch.hypot(x, y), z)), DEGREES)


def class_shares(labels: Labels) -> Float[Tensor, " k"]:
    """Each class's share of the pixels."""
    return _shares(torch.bincount(labels.ids[labels.valid], minlength=len(labels.classes)))


def class_presence(labels: Labels) -> Float[Tensor, " k"]:
    """1 for classes of which there is a pixel."""
    shares = class_shares(labels)
    return torch.where(shares.isnan(), shares, (shares > 0).float())


def jensen_shannon(p: Float[Tensor, "*n b"], q: Float[Tensor, "*n b"]) -> Float[Tensor, "*n"]:
    """The Jensen-Shannon divergence of distributions over bins, in bits: 0 where alike, 1 where they share no bin
    (Lin, 1991)."""
    middle = (p + q) / 2
    parts = [torch.where(one > 0, one * (one / middle.clamp(min=1e-300)).log2(), 0.0).sum(-1) for one in (p, q)]
    return ((parts[0] + parts[1]) / 2).clamp(0, 1)


def presence_divergence(p: Float[Tensor, " k"], q: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """The same of whether a class is there, from the shares of images that have it: the mean over classes."""
    return jensen_shannon(torch.stack([p, 1 - p], -1), torch.stack([q, 1 - q], -1)).mean()


def wasserstein(p: Float[Tensor, " b"], q: Float[Tensor, " b"], edges: Float[Tensor, " e"]) -> float:
    """The 1-D Wasserstein distance of distributions over bins, in the unit of their edges: how far, on average, what is
    in one must move to become the other."""
    return float(((p - q).cumsum(0).abs() * edges.diff().to(p)).sum())


def _histogram(values: Float[Tensor, " n"], edges: Float[Tensor, " e"]) -> Float[Tensor, " b"]:
    inner = edges[1:-1].to(values)
    return _shares(torch.bincount(torch.bucketize(values, inner, right=True), minlength=len(inner) + 1))


def _shares(counts: Tensor) -> Float[Tensor, " b"]:
    return (counts.double() / counts.sum()).float()
