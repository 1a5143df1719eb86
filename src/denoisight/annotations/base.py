"""What all kinds of annotation are asked for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor

IGNORE = 255
"""The label of pixels that nobody labelled."""

Gauge = Literal["metres", "scale", "affine", "affine-disparity", "affine-log"]
"""What a depth map is known up to: nothing, a factor, a factor and a shift, or the same of 1/depth or log depth.

None determines one that stands before it."""

Kind = TypeVar("Kind", bound="Annotation")


class Annotation:
    """What the five kinds share: a size, a flip, a crop, a resize, and batching by stacking tensors."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        raise NotImplementedError

    def flip(self: Kind) -> Kind:
        """Mirrored left to right."""
        raise NotImplementedError

    def crop(self: Kind, top: int, left: int, height: int, width: int) -> Kind:
        """The window whose upper left pixel is (top, left)."""
        raise NotImplementedError

    def resize(self: Kind, height: int, width: int) -> Kind:
        raise NotImplementedError

    def blank(self: Kind) -> Kind:
        """Of the same kind and size, with nothing known."""
        return replace(self, **{name: torch.zeros_like(t) for name, t in self.tensors().items()})  # type: ignore[type-var]

    def without(self: Kind, pixels: Bool[Tensor, "*b h w"]) -> Kind:
        """The same with nothing known at these pixels. Raises `UsageError` for boxes, which have none."""
        unknown = self.blank().tensors()

        def kept(name: str, tensor: Tensor) -> Tensor:
            places = pixels if tensor.ndim == pixels.ndim else pixels[..., None, :, :]
            return torch.where(places, unknown[name], tensor)

        # What is told of things, not of pixels, stays.
        changed = {name: kept(name, tensor) for name, tensor in self.tensors().items() if name in unknown}
        return replace(self, **changed)  # type: ignore[type-var]

    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self: Kind, device: torch.device | str) -> Kind:
        return replace(self, **{name: t.to(device) for name, t in self.tensors().items()})  # type: ignore[type-var]

    def __getitem__(self: Kind, index: int | slice | Tensor) -> Kind:
        """One item, a slice, or some places of a batch."""
        return replace(self, **{name: t[index] for name, t in self.tensors().items()})  # type: ignore[type-var]
