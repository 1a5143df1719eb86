"""Semantic labels and instances -> the segments of COCO's panoptic form. Pure: no file."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ..annotations import IGNORE, Labels


class Segment(NamedTuple):
    """Pixels of one class that belong together.

    `number` is its own in the picture. `thing` is the id of the instance that it is, 0 for the rest of its class; of
    that, `free` pixels are known to be no thing, the others may be anything.
    """

    number: int
    category: int
    thing: int
    free: int
    pixels: Bool[Tensor, "h w"]


class Found(NamedTuple):
    """The segments of a picture; the class of each instance by id, -1 where none is known; and how many pixels of
    instances are of another class than theirs, and so in no segment."""

    segments: tuple[Segment, ...]
    categories: dict[int, int]
    stray: int


def find_segments(semantic: Labels, instances: Labels | None = None) -> Found:
    """Cut a picture into segments, things first, in the order of their ids.

    An instance is of the class that most of its labelled pixels have (of equally frequent ones the first). A pixel is
    in a segment only where semantic labels know its class, and its instance is of that class: what the two truths
    disagree about is in none, so that no label is written that neither gave. A segment's number is its class + 1
    + 256 times its place among those of its class, unlike all others for up to 255 classes.
    """
    ids = torch.zeros_like(semantic.ids) if instances is None else instances.ids
    things = [k for k in ids.unique().tolist() if k not in (0, IGNORE)]
    categories = {k: _commonest(semantic.ids[ids == k]) for k in things}
    found: list[Segment] = []
    counts: dict[int, int] = {}

    def add(category: int, thing: int, free: int, pixels: Bool[Tensor, "h w"]) -> None:
        place = counts.get(category, 0)
        counts[category] = place + 1
        found.append(Segment(category + 1 + 256 * place, category, thing, free, pixels))

    stray = 0
    for thing, category in categories.items():
        inside = ids == thing
        pixels = inside & (semantic.ids == category)
        stray += int((inside & semantic.valid).sum()) - int(pixels.sum())
        if category >= 0:
            add(category, thing, 0, pixels)
    rest = semantic.valid & ((ids == 0) | (ids == IGNORE))
    for category in semantic.ids[rest].unique().tolist():
        pixels = rest & (semantic.ids == category)
        add(category, 0, int((pixels & (ids == 0)).sum()), pixels)
    return Found(tuple(found), categories, stray)


def picture_of(segments: tuple[Segment, ...], size: tuple[int, int]) -> Int64[Tensor, "h w"]:
    """Each pixel's segment number, 0 where it is in none."""
    numbers = torch.zeros(size, dtype=torch.int64)
    for segment in segments:
        numbers[segment.pixels] = segment.number
    return numbers


def tight_box(pixels: Bool[Tensor, "h w"]) -> list[int]:
    """COCO's box of pixels, of which there is one at least: left, top, width, height."""
    rows, columns = (pixels.any(axis).nonzero()[:, 0] for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _commonest(ids: Int64[Tensor, " n"]) -> int:
    known = ids[ids != IGNORE]
    return int(known.bincount().argmax()) if len(known) else -1
