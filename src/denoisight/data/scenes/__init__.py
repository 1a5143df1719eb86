"""Endless procedural scenes with exact truth: nothing to download, nothing to label.

Rooms and open grounds with things of seven kinds, alone, in piles and in rows, under lamps or a sun, taken by
a camera with noise and blur. A scene hangs on (seed, index) alone; picture size, order and workers change
nothing about it. `shifted` scenes have textures, lights and clutter that the other splits never show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import torch
from torch.utils.data import Dataset

from ...annotations import Mask, Query, Sample
from ...errors import DataError, pick
from ...runtime import item_seed
from .language import Expression, describe, name, refer
from .render import render
from .scene import Scene
from .truths import CLASSES, PARTS, Seen, annotate, observe
from .world import draw_scene

__all__ = ["CLASSES", "PARTS", "SPLITS", "VERSION", "Expression", "Scenes", "digest"]

VERSION: Final = "scenes-1-3af780c1"
"""Stands in every result. Under one version a scene never changes; the number tells renderers apart, and the
digest descriptions."""

SPLITS: Final = {
    "train": range(0, 10_000_000),
    "val": range(10_000_000, 10_001_000),
    "test": range(10_001_000, 10_003_000),
    "shifted": range(10_003_000, 10_005_000),
}
"""Which indices belong to which split; none to two."""

SMALLEST_PX: Final = 8


class Scenes(Dataset[Sample]):
    """Samples with the truths "depth", "normals", "semantic", "instances" (0 is background), "boxes",
    "parts", "boundary", "saliency" and "mask", and a caption as the text.

    The mask is of the one thing that its phrase means, drawn from `expressions`; where nothing can be spoken of,
    the phrase is empty and no pixel of the mask is valid.

    `num` limits how many items there are (the whole split when None); `size` is (height, width) in pixels.
    Not `annotated`, they are images and captions alone, in half the time.
    Raises `UsageError` for an unknown split, `DataError` for a count or size that cannot be had.
    """

    def __init__(
        self,
        split: str = "train",
        num: int | None = None,
        size: tuple[int, int] = (64, 64),
        seed: int = 0,
        annotated: bool = True,
    ) -> None:
        indices = pick(SPLITS, split, "split")
        if num is not None and not 0 < num <= len(indices):
            raise DataError(f"Split {split!r} cannot give {num} scenes; ask for 1 to {len(indices)}.")
        if min(size) < SMALLEST_PX:
            raise DataError(f"Scenes of {size[1]}x{size[0]} pixels are too small; ask for {SMALLEST_PX} or more.")
        self.split, self.size, self.seed, self.annotated = split, size, seed, annotated
        self.indices = indices[:num]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Sample:
        scene = self.scene(i)
        view = render(scene, *self.size)
        seen = observe(scene, view)
        query = Query(torch.from_numpy(view.rgb), describe(scene, seen), self.key(i))
        if not self.annotated:
            return Sample(query, {})
        truths = annotate(scene, view, seen)
        meant = self._meant(seen, self.key(i))
        inside = truths["instances"].ids == (meant.target if meant else -1)  # type: ignore[attr-defined]
        mask = Mask(inside.float(), torch.full_like(inside, meant is not None))
        return Sample(query, {**truths, "mask": mask}, {"mask": meant.text if meant else ""})

    def key(self, i: int) -> str:
        """The item's name, as in "scenes/val/000012"."""
        return f"scenes/{self.split}/{range(len(self))[i]:06d}"

    def scene(self, i: int) -> Scene:
        """The description that item i is rendered from."""
        return draw_scene(self.seed, self.indices[i], shifted=self.split == "shifted")

    def caption(self, i: int) -> str:
        """What is in the picture, as in the sample's text."""
        scene = self.scene(i)
        return describe(scene, observe(scene, render(scene, *self.size)))

    def expression(self, i: int) -> Expression | None:
        """The one that the sample's mask answers to; None where nothing can be spoken of."""
        scene = self.scene(i)
        return self._meant(observe(scene, render(scene, *self.size)), self.key(i))

    def expressions(self, i: int) -> tuple[Expression, ...]:
        """Phrases that each mean exactly one thing in the picture; targets and confusers are instance ids."""
        scene = self.scene(i)
        return self._refer(observe(scene, render(scene, *self.size)), self.key(i))

    def confusers(self, i: int, expression: Expression) -> tuple[tuple[str, Mask], ...]:
        """What an expression may be confused with: words and mask of each, the closest first."""
        scene = self.scene(i)
        view = render(scene, *self.size)
        seen = observe(scene, view)
        ids, names = annotate(scene, view, seen)["instances"].ids, name(seen)  # type: ignore[attr-defined]
        return tuple((names[other], Mask.of(ids == other)) for other in expression.confusers if other in names)

    def _refer(self, seen: Sequence[Seen], key: str) -> tuple[Expression, ...]:
        return refer(seen, item_seed(self.seed, f"{key}/expressions"))

    def _meant(self, seen: Sequence[Seen], key: str) -> Expression | None:
        known = self._refer(seen, key)
        return known[item_seed(self.seed, f"{key}/meant") % len(known)] if known else None


def digest() -> str:
    """Eight hexadecimal digits that stand for the descriptions of a few scenes of each kind."""
    scenes = [Scenes(split, num=8).scene(i) for split in ("val", "shifted") for i in range(8)]
    text = repr([_rounded(asdict(scene)) for scene in scenes])
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _rounded(value: Any) -> Any:
    """Every number as text with five digits, so that mathematics libraries may differ in the last bits."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value if isinstance(value, str | bool | None) else f"{float(value):.5g}"
