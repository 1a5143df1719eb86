"""What a view shows, as annotations: classes, instances, boundaries, and the thing that stands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ...annotations import Annotation, Depth, Labels, Mask, Normals, box_instances
from .bodies import BODIES
from .render import View
from .scene import Scene

CLASSES: Final = ("ground", "wall", "ceiling", "sky", *BODIES)
PARTS: Final = ("none", "top", "side")
UPWARD: Final = 0.5
"""The least share of "up" in the normals of a thing's top: whatever leans by less than 60 degrees."""


@dataclass(frozen=True)
class Seen:
    """A thing as it shows: its instance id, its words, the share of the picture that it covers, the middle of
    its visible pixels in shares of width and height, their mean depth, and the id of what it stands on."""

    id: int
    kind: str
    colour: str
    size: str
    area: float
    x: float
    y: float
    depth_m: float
    support: int | None


def observe(scene: Scene, view: View) -> tuple[Seen, ...]:
    """The things of which at least one pixel shows, in the order of their ids."""
    height, width = view.surface.shape
    surface, bins = view.surface.ravel(), len(scene.things)
    counts = np.bincount(surface, minlength=bins)
    maps = (
        np.tile(np.arange(width) + 0.5, height),
        np.repeat(np.arange(height) + 0.5, width),
        view.depth_m.ravel(),
    )
    sums = (np.bincount(surface, weights, bins) for weights in maps)
    rows = zip(scene.things, *(values[:bins].tolist() for values in (counts, *sums)), strict=True)
    return tuple(
        Seen(
            id=number + 1,
            kind=thing.kind,
            colour=thing.colour,
            size=thing.size,
            area=count / len(surface),
            x=x / count / width,
            y=y / count / height,
            depth_m=depth / count,
            support=None if thing.support is None else thing.support + 1,
        )
        for number, (thing, count, x, y, depth) in enumerate(rows)
        if count
    )


def annotate(scene: Scene, view: View, seen: Sequence[Seen]) -> dict[str, Annotation]:
    """All truths of a view by name."""
    surface, num = view.surface, len(scene.things)
    valid = torch.from_numpy(surface < num + len(scene.planes))
    classes = [thing.kind for thing in scene.things] + [plane.surface for plane in scene.planes] + ["sky"]
    by_class = np.array([CLASSES.index(name) for name in classes])
    instances = np.where(surface < num, surface + 1, 0)
    return {
        "depth": Depth(torch.from_numpy(view.depth_m), valid),
        "normals": Normals(torch.from_numpy(view.normals), valid),
        "semantic": Labels(torch.from_numpy(by_class[surface]), CLASSES),
        "instances": Labels(torch.from_numpy(instances), ()),
        "boxes": box_instances(torch.from_numpy(instances)),
        "parts": Labels(torch.from_numpy(_parts(scene, view)), PARTS),
        "boundary": Mask.of(torch.from_numpy(edges(surface, view.depth_m))),
        "saliency": Mask.of(torch.from_numpy(instances == most_salient(scene, view, seen))),
    }


def _parts(scene: Scene, view: View) -> Int[ndarray, "h w"]:
    """Where things look up, and where they look aside or down; planes and the sky are "none"."""
    upward = np.einsum("c,chw->hw", scene.camera.rotation[1], view.normals) > UPWARD
    return np.where(view.surface < len(scene.things), np.where(upward, 1, 2), 0)


def edges(surface: Int[ndarray, "h w"], depth_m: Float[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """Pixels with a neighbour, to the side or above or below, on another and farther surface: thin lines that
    belong to what lies in front. The sky, whose depth is 0, is farther than anything."""
    depth = np.where(depth_m > 0, depth_m, np.inf)
    edge = np.zeros(surface.shape, bool)
    lower, upper = (slice(1, None), slice(None)), (slice(None, -1), slice(None))
    for here, there in ((upper, lower), (upper[::-1], lower[::-1])):
        differ = surface[here] != surface[there]
        nearer = depth[here] < depth[there]
        edge[here] |= differ & nearer
        edge[there] |= differ & ~nearer
    return edge


def most_salient(scene: Scene, view: View, seen: Sequence[Seen]) -> int:
    """The id of the thing that stands out: large, near the middle, and unlike the picture's mean colour.

    The score is sqrt(area) (1 - distance to the middle) (0.25 + colour distance), with the distance to the
    middle in shares of the picture's sides and colours in linear RGB. -1 where no thing shows.
    """
    if not seen:
        return -1
    colours = [thing.material.base for thing in scene.things] + [plane.material.base for plane in scene.planes]
    counts = np.bincount(view.surface.ravel(), minlength=len(colours))[: len(colours)]
    mean = counts @ np.array(colours) / counts.sum()

    def score(thing: Seen) -> float:
        aside = np.hypot(thing.x - 0.5, thing.y - 0.5)
        contrast = np.linalg.norm(mean - scene.things[thing.id - 1].material.base)
        return float(thing.area**0.5 * (1 - aside) * (0.25 + contrast))

    return max(seen, key=score).id
