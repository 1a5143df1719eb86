"""Casts rays into a scene: what each meets, where, and with which normal. Exact, in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .bodies import BODIES, interval, outward
from .scene import Plane, Scene, Thing
from .vectors import column, floats, length

FAR_M = 40.0
"""Ground beyond this depth melts into the sky and counts as sky."""


@dataclass(frozen=True, eq=False)
class Hits:
    """What n rays met: depth along z in metres, unit normals and points in the world's frame, ray directions
    with unit step in depth, and a surface number: the things in order, then the planes, then the sky."""

    depth_m: Float[ndarray, " n"]
    normal: Float[ndarray, "3 n"]
    point: Float[ndarray, "3 n"]
    direction: Float[ndarray, "3 n"]
    surface: Int[ndarray, " n"]


def cast(scene: Scene, x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> Hits:
    """Follow the rays through picture points x (right) and y (up), in units of the picture's shorter side."""
    camera = scene.camera
    u, v = x / np.float32(camera.focal), y / np.float32(camera.focal)
    direction = camera.rotation @ np.stack([u, v, np.full_like(u, -1)])
    eye = column(camera.position)
    depth, surface = _meet_planes(scene.planes, eye, direction)
    surface += len(scene.things)
    sides = floats([*(plane.normal for plane in scene.planes), (0, 0, 0)])
    normal = (-sides.T).take(surface - len(scene.things), 1)
    for number, thing in enumerate(scene.things):
        seen = _in_view(scene, thing, u, v)
        if len(seen):
            _meet_thing(number, thing, eye, direction, seen, depth, normal, surface)
    return Hits(depth, normal, eye + depth * direction, direction, surface)


def blocked(
    thing: Thing, point: Float[ndarray, "3 n"], direction: Float[ndarray, "3 n"], limit: Float[ndarray, " n"]
) -> ndarray:
    """Whether rays from points outside of a thing meet it within `limit` times their direction."""
    origin = thing.shape.inverse @ (point - column(thing.position))
    enter, leave = interval(BODIES[thing.kind], origin, thing.shape.inverse @ direction)
    return (enter < leave) & (leave > 1e-3) & (enter < limit)


def _meet_planes(planes: tuple[Plane, ...], eye: ndarray, direction: ndarray) -> tuple[ndarray, ndarray]:
    """Depth and number of the side through which rays leave the space; one past the last is the sky."""
    normals = floats([plane.normal for plane in planes])
    room = column([plane.offset for plane in planes]) - normals @ eye
    rate = normals @ direction
    time = room / np.maximum(rate, np.float32(1e-9))
    depth = np.full(direction.shape[1], FAR_M, np.float32)
    side = np.full(direction.shape[1], len(planes))
    for number, reached in enumerate(time):
        np.copyto(side, number, where=reached < depth)
        np.minimum(depth, reached, out=depth)
    return depth, side


def _in_view(scene: Scene, thing: Thing, u: ndarray, v: ndarray) -> Int[ndarray, " m"]:
    """The rays that pass through the rectangle around a thing's projection."""
    corners = (thing.shape.hull + floats(thing.position) - floats(scene.camera.position)) @ scene.camera.rotation
    depth = -corners[:, 2]
    if depth.min() < 0.05:
        return np.arange(len(u))
    (left, bottom), (right, top) = (limit(corners[:, :2] / depth[:, None], axis=0) for limit in (np.min, np.max))
    return np.flatnonzero((u >= left) & (u <= right) & (v >= bottom) & (v <= top))


def _meet_thing(
    number: int,
    thing: Thing,
    eye: ndarray,
    direction: ndarray,
    seen: ndarray,
    depth: ndarray,
    normal: ndarray,
    surface: ndarray,
) -> None:
    """Write a thing over what lies behind it."""
    body = BODIES[thing.kind]
    origin = thing.shape.inverse @ (eye - column(thing.position))
    ray = thing.shape.inverse @ direction.take(seen, 1)
    enter, leave = interval(body, origin, ray)
    front = np.flatnonzero((enter < leave) & (enter > 0) & (enter < depth[seen]))
    enter, seen = enter[front], seen[front]
    facing = thing.shape.inverse.T @ outward(body, origin + enter * ray.take(front, 1))
    depth[seen] = enter
    normal[:, seen] = facing / length(facing)
    surface[seen] = number
