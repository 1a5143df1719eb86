"""Annotations that say something of each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..errors import DataError
from ..vectors import lengths, unit
from .base import IGNORE, Annotation, Gauge
from .pixels import resize_nearest, resize_valid, size_of, window_of
from .words import mirrored_classes


@dataclass(frozen=True, eq=False)
class Depth(Annotation):
    """Distance along z. `values` are metres or, under another gauge, known up to that gauge; near is small
    (except under `affine-disparity`, where near is large)."""

    values: Float[Tensor, "*b h w"]
    valid: Bool[Tensor, "*b h w"]
    gauge: Gauge = "metres"

    @classmethod
    def of(cls, values: Tensor, gauge: Gauge = "metres") -> Depth:
        """From a map in which zero, negative and non-finite values mean "not measured"."""
        valid = torch.isfinite(values) & (values > 0)
        return cls(torch.where(valid, values, 0.0), valid, gauge)

    def up_to(self, gauge: Gauge) -> Depth:
        """The same, known no better than `gauge` says. Raises `DataError` where it is not known so well."""
        if gauge == self.gauge:
            return self
        if self.gauge.startswith("affine") or gauge == "metres":
            raise DataError(f"Depth known up to {self.gauge!r} cannot be told up to {gauge!r}; use metric depth.")
        if gauge in ("scale", "affine"):
            return replace(self, gauge=gauge)
        positive = self.values.clamp(min=1e-6)
        values = 1 / positive if gauge == "affine-disparity" else positive.log()
        return Depth(torch.where(self.valid, values, 0.0), self.valid, gauge)

    def over_median(self) -> Depth:
        """In shares of the median of its own valid pixels, and so known up to a factor."""
        seen = torch.where(self.valid, self.values, torch.nan).flatten(-2)
        middle = seen.nanmedian(dim=-1).values.nan_to_num(1.0)[..., None, None]
        return replace(self, values=self.values / middle.clamp(min=1e-6), gauge="scale")

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.values)

    def flip(self) -> Depth:
        return replace(self, values=self.values.flip(-1), valid=self.valid.flip(-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Depth:
        window = window_of(self.size, top, left, height, width)
        return replace(self, values=self.values[window], valid=self.valid[window])

    def resize(self, height: int, width: int) -> Depth:
        values, valid = resize_valid(self.values[..., None, :, :], self.valid, height, width)
        return replace(self, values=values[..., 0, :, :], valid=valid)


def least_known(gauges: Iterable[Gauge]) -> Gauge:
    """From metres on. Of the last three none is known from another, as `Depth.up_to` says where two are to meet."""
    return max(gauges, key=get_args(Gauge).index)


@dataclass(frozen=True, eq=False)
class Normals(Annotation):
    """Unit surface normals in the camera frame x right, y up, z towards the viewer; zero where invalid."""

    vectors: Float[Tensor, "*b 3 h w"]
    valid: Bool[Tensor, "*b h w"]

    @classmethod
    def of(cls, vectors: Tensor) -> Normals:
        """From vectors of any length; those without a direction become invalid."""
        length = lengths(vectors)
        valid = torch.isfinite(length) & (length > 0.5)
        return cls(torch.where(valid[..., None, :, :], unit(torch.nan_to_num(vectors)), 0.0), valid)

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.vectors)

    def flip(self) -> Normals:
        mirror = self.vectors.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        return replace(self, vectors=unit(self.vectors.flip(-1) * mirror), valid=self.valid.flip(-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Normals:
        window = window_of(self.size, top, left, height, width)
        return replace(self, vectors=self.vectors[window], valid=self.valid[window])

    def resize(self, height: int, width: int) -> Normals:
        """Stretching a picture unevenly tilts no surface in it, so directions stay and only lengths are mended."""
        vectors, valid = resize_valid(self.vectors, self.valid, height, width)
        # Where opposite directions cancel there is none.
        valid = valid & (lengths(vectors) > 1e-3)
        return replace(self, vectors=torch.where(valid[..., None, :, :], unit(vectors), 0.0), valid=valid)


@dataclass(frozen=True, eq=False)
class Labels(Annotation):
    """One class per pixel; `IGNORE` where none is known. `classes` names them in order.

    Without classes the ids are those of single things, 0 none; predictions may tell by `scores` in [0, 1] how sure
    they are of each, that of the thing k at k - 1.
    """

    ids: Int64[Tensor, "*b h w"]
    classes: tuple[str, ...]
    scores: Float[Tensor, "*b n"] | None = None

    @property
    def valid(self) -> Tensor:
        return self.ids != IGNORE

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.ids)

    def flip(self) -> Labels:
        """A mirrored left arm is a right one, where both are classes."""
        other = mirrored_classes(self.classes)
        ids = self.ids.flip(-1)
        if other != tuple(range(len(other))):
            known = (ids >= 0) & (ids < len(other))
            ids = torch.where(known, ids.new_tensor(other)[torch.where(known, ids, 0)], ids)
        return replace(self, ids=ids)

    def crop(self, top: int, left: int, height: int, width: int) -> Labels:
        return replace(self, ids=self.ids[window_of(self.size, top, left, height, width)])

    def resize(self, height: int, width: int) -> Labels:
        return replace(self, ids=resize_nearest(self.ids, height, width))

    def blank(self) -> Labels:
        return replace(self, ids=torch.full_like(self.ids, IGNORE), scores=None)


@dataclass(frozen=True, eq=False)
class Mask(Annotation):
    """What belongs to one thing: a truth is 0, 1 or a share (of a pixel, of people), a prediction anything between."""

    probability: Float[Tensor, "*b h w"]
    valid: Bool[Tensor, "*b h w"]

    @classmethod
    def of(cls, inside: Tensor) -> Mask:
        return cls(inside.float(), torch.ones_like(inside, dtype=torch.bool))

    @property
    def inside(self) -> Tensor:
        return self.probability >= 0.5

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.probability)

    def flip(self) -> Mask:
        return replace(self, probability=self.probability.flip(-1), valid=self.valid.flip(-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Mask:
        window = window_of(self.size, top, left, height, width)
        return replace(self, probability=self.probability[window], valid=self.valid[window])

    def resize(self, height: int, width: int) -> Mask:
        """By shares, so that what is thinner than a pixel, as boundaries are in a small picture, does not fall apart
        into dots but becomes fainter."""
        inside, valid = resize_valid(self.probability[..., None, :, :], self.valid, height, width)
        return replace(self, probability=inside[..., 0, :, :], valid=valid)
