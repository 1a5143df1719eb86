"""Convex bodies as an intersection of half-spaces and at most one quadric, and where rays meet them.

A body lives in its own frame, y up. A point p is inside where `normals @ p <= offsets` and, if there is a
quadric, `quadric @ p**2 <= radius`. A ray is inside a convex body during one interval, so it enters at the
largest of the entries into the parts and leaves at the smallest of the exits (Kay & Kajiya, 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .vectors import dot, floats

TINY = np.float32(1e-20)
"""Keeps divisors from zero and changes no other number."""


@dataclass(frozen=True)
class Body:
    """`hull` holds the corners of a polytope around the body that touches it in the six axis directions."""

    normals: Float[ndarray, "p 3"]
    offsets: Float[ndarray, " p"]
    hull: Float[ndarray, "c 3"]
    quadric: Float[ndarray, " 3"] | None = None
    radius: float = 1.0


def interval(
    body: Body, origin: Float[ndarray, "3 m"], direction: Float[ndarray, "3 n"]
) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"]]:
    """When rays `origin + t direction` enter and leave a body; one that misses leaves before it enters.

    All in the body's frame; `origin` has one column for all rays or one for each.
    """
    if body.quadric is None:
        return _pass_planes(body, origin, direction)
    enter, leave = _pass_quadric(body.quadric, body.radius, origin, direction)
    if len(body.offsets):
        first, last = _pass_planes(body, origin, direction)
        return np.maximum(enter, first), np.minimum(leave, last)
    return enter, leave


def outward(body: Body, point: Float[ndarray, "3 n"]) -> Float[ndarray, "3 n"]:
    """The outward normals, of any length, at points of a body's surface."""
    if not len(body.offsets):
        return point
    slack = body.offsets[:, None] - body.normals @ point
    flat = body.normals.T.take(slack.argmin(0), 1)
    if body.quadric is None:
        return flat
    curved = body.quadric[:, None] * point
    bend = np.abs(body.radius - dot(curved, point))
    return np.where(bend < 2 * slack.min(0), curved, flat)


def _pass_planes(body: Body, origin: ndarray, direction: ndarray) -> tuple[ndarray, ndarray]:
    rate = body.normals @ direction + TINY
    time = (body.offsets[:, None] - body.normals @ origin) / rate
    inward = rate < 0
    return np.where(inward, time, -np.inf).max(0), np.where(inward, np.inf, time).min(0)


def _pass_quadric(quadric: ndarray, radius: float, origin: ndarray, direction: ndarray) -> tuple[ndarray, ndarray]:
    """The interval of a ray inside `quadric @ p**2 <= radius`; of a double cone, inside its lower half."""
    weighted = quadric[:, None] * direction
    a = dot(weighted, direction) + TINY
    b = (weighted * origin).sum(0)
    c = (quadric[:, None] * origin**2).sum(0) - np.float32(radius)
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0))
    # of the two forms of each root, the one that does not subtract two numbers of like size
    falling = b < 0
    q = np.where(falling, root, -root) - b + TINY
    by_a, by_q = q / a, c / q
    first = np.where(falling, by_q, by_a)
    last = np.where(falling, by_a, by_q)
    if quadric[1] < 0:
        # a ray steeper than a double cone is outside between its roots; one end of it is in the lower half
        steep, down = a < 0, direction[1] < 0
        first = np.where(steep & ~down, -np.inf, first)
        last = np.where(steep & down, np.inf, last)
    return np.where(discriminant < 0, np.inf, first), last


_AXES = floats([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
_CUBE = floats(list(product((-1, 1), (-1, 1), (-1, 1))))
_ROOF = floats([[1, 1, 0], [-1, 1, 0]])
_CIRCLE = [(np.cos(angle), np.sin(angle)) for angle in (np.arange(16) + 0.5) * np.pi / 8]


def _rings(*levels: float) -> ndarray:
    """Sixteen-cornered rings around the unit circle at the given heights; they touch it along the axes."""
    return floats([(x / np.cos(np.pi / 16), y, z / np.cos(np.pi / 16)) for y in levels for x, z in _CIRCLE])


BODIES: dict[str, Body] = {
    "box": Body(_AXES, np.ones(6, np.float32), _CUBE),
    "sphere": Body(_AXES[:0], floats([]), _CUBE, floats([1, 1, 1])),
    "cylinder": Body(_AXES[2:4], np.ones(2, np.float32), _rings(-1.0, 1.0), floats([1, 0, 1])),
    "cone": Body(_AXES[2:4], floats([0, 1]), np.vstack([_rings(-1.0), floats([[0, 0, 0]])]), floats([1, -1, 1]), 0.0),
    "pyramid": Body(
        np.vstack([_ROOF, _ROOF[:, [2, 1, 0]], _AXES[3:4]]),
        floats([1, 1, 1, 1, 0]),
        floats([[1, 0, 1], [1, 0, -1], [-1, 0, 1], [-1, 0, -1], [0, 1, 0]]),
    ),
    "wedge": Body(
        np.vstack([_ROOF, _AXES[3:]]),
        floats([1, 1, 0, 1, 1]),
        floats([[1, 0, 1], [1, 0, -1], [-1, 0, 1], [-1, 0, -1], [0, 1, 1], [0, 1, -1]]),
    ),
    "dome": Body(_AXES[3:4], floats([0]), _rings(0.0, 1.0), floats([1, 1, 1])),
}
"""The kinds of things. Unit size: sides, radii and heights are 1 or 2, and are scaled along each axis."""
