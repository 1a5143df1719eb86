"""The light that comes back from what rays met: textures, lamps and suns with shadows, sky light, haze."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .scene import Light, Scene, Vector
from .textures import paint
from .trace import Hits, blocked
from .vectors import column, dot, floats, length

HAZE_M = 70.0
"""Outdoors, the depth over which about two thirds of a surface's light turns to haze."""


def shade(scene: Scene, hits: Hits, pixel: float) -> Float[ndarray, "3 n"]:
    """The colour of each ray, linear. `pixel` is a pixel's width in units of the picture's shorter side."""
    solid = hits.surface < len(scene.things) + len(scene.planes)
    albedo = _albedo(scene, hits, pixel)
    near = _Neighbours(scene, hits)
    light = _sky_light(scene, hits) * near.openness()
    shine = np.zeros_like(light)
    gloss = _gloss(scene)[hits.surface]
    for lamp in scene.lights:
        _add_direct(scene, lamp, hits, near, gloss, light, shine)
    colour = albedo * light + shine
    if scene.setting == "field":
        clear = np.exp(hits.depth_m / np.float32(-HAZE_M))
        colour = colour * clear + column(scene.haze) * (1 - clear)
        sky = np.flatnonzero(~solid)
        colour[:, sky] = _sky(scene, hits.direction[:, sky])
    return colour


class _Neighbours:
    """Where things lie as seen from every point: their bounding spheres."""

    def __init__(self, scene: Scene, hits: Hits) -> None:
        self.hits = hits
        boxes = [(thing.shape.hull.min(0), thing.shape.hull.max(0)) for thing in scene.things]
        offsets = floats([thing.position for thing in scene.things]).reshape(-1, 3)
        self.centres = floats([(low + high) / 2 for low, high in boxes]).reshape(-1, 3) + offsets
        self.radii = floats([np.linalg.norm(high - low) / 2 for low, high in boxes])
        point = hits.point
        self.squares = dot(point, point) - 2 * self.centres @ point
        self.squares += np.einsum("ki,ki->k", self.centres, self.centres)[:, None]

    def openness(self) -> Float[ndarray, " n"]:
        """The share of the sky's light that the things leave free: each hides the solid angle of a ball."""
        towards = self.along(self.hits.normal)
        ball = np.square(0.7 * self.radii)[:, None]
        distance = np.maximum(self.squares, ball)
        hidden = np.maximum(towards, 0) * ball / (distance * np.sqrt(distance))
        hidden[self.hits.surface == np.arange(len(hidden))[:, None]] = 0
        return np.maximum(1 - 0.9 * hidden.sum(0), 0.2)

    def along(self, direction: Float[ndarray, "3 n"]) -> Float[ndarray, "k n"]:
        """How far along unit directions the centres lie."""
        return self.centres @ direction - dot(direction, self.hits.point)


def _add_direct(
    scene: Scene, lamp: Light, hits: Hits, near: _Neighbours, gloss: ndarray, light: ndarray, shine: ndarray
) -> None:
    """Add a lamp's diffuse light, and the highlights of glossy surfaces (Blinn, 1977)."""
    towards = np.broadcast_to(column(lamp.position), hits.point.shape)
    if lamp.reach_m is not None:
        towards = towards - hits.point
    distance = length(towards)
    towards = towards / distance
    facing = dot(towards, hits.normal)
    if lamp.reach_m is None:
        strength, distance = np.float32(1), np.full_like(distance, np.inf)
    else:
        strength = np.minimum(np.square(np.float32(lamp.reach_m) / distance), 2)
    lit = _lit(scene, hits, near, towards, distance, facing > 0) * strength
    glossy = np.flatnonzero(gloss * lit)
    light += column(lamp.colour) * (lit * np.maximum(facing, 0))
    if len(glossy):
        back = hits.direction.take(glossy, 1)
        half = towards.take(glossy, 1) - back / length(back)
        cosine = dot(half, hits.normal.take(glossy, 1)) / length(half)
        shine[:, glossy] += column(lamp.colour) * (gloss[glossy] * lit[glossy] * np.maximum(cosine, 0) ** 48)


def _lit(
    scene: Scene, hits: Hits, near: _Neighbours, towards: ndarray, distance: ndarray, facing: ndarray
) -> Float[ndarray, " n"]:
    """1 where nothing stands between a point and the light, else 0."""
    lit = facing.copy()
    along = near.along(towards)
    aside = near.squares - along * along
    reached = (aside < np.square(near.radii)[:, None]) & (along > -near.radii[:, None])
    reached &= along < distance + near.radii[:, None]
    for number, thing in enumerate(scene.things):
        asked = np.flatnonzero(reached[number] & lit & (hits.surface != number))
        if len(asked):
            lit[asked] = ~blocked(thing, hits.point.take(asked, 1), towards.take(asked, 1), distance[asked])
    return lit.astype(np.float32)


def _albedo(scene: Scene, hits: Hits, pixel: float) -> Float[ndarray, "3 n"]:
    """The surfaces' own colours."""
    slant = np.abs(dot(hits.normal, hits.direction))
    far = hits.depth_m * length(hits.direction)
    footprint = far * np.float32(pixel / scene.camera.focal) / np.maximum(slant, 0.1)
    albedo = np.zeros_like(hits.point)
    for number, thing in enumerate(scene.things):
        own = np.flatnonzero(hits.surface == number)
        if len(own):
            local = thing.shape.rotation.T @ (hits.point.take(own, 1) - column(thing.position))
            albedo[:, own] = paint(thing.material, local, footprint[own])
    for number, plane in enumerate(scene.planes):
        own = np.flatnonzero(hits.surface == len(scene.things) + number)
        if len(own):
            albedo[:, own] = paint(plane.material, _flat(plane.normal, hits.point.take(own, 1)), footprint[own])
    return albedo


def _flat(normal: Vector, point: Float[ndarray, "3 n"]) -> Float[ndarray, "3 n"]:
    """Coordinates along a plane that is square to an axis: on walls the second runs upwards."""
    axis = int(np.abs(normal).argmax())
    first, second = ((2, 1), (0, 2), (0, 1))[axis]
    return np.stack([point[first], point[second], np.zeros_like(point[0])])


def _gloss(scene: Scene) -> Float[ndarray, " s"]:
    """By surface number; the sky has none."""
    gloss = [thing.material.gloss for thing in scene.things] + [plane.material.gloss for plane in scene.planes]
    return np.array([*gloss, 0], np.float32)


def _sky_light(scene: Scene, hits: Hits) -> Float[ndarray, "3 n"]:
    """Light from all sides, mixed of what comes from above and from below by how far a surface looks up."""
    up = 0.5 + 0.5 * hits.normal[1]
    return column(scene.below) + (column(scene.above) - column(scene.below)) * up


def _sky(scene: Scene, direction: Float[ndarray, "3 n"]) -> Float[ndarray, "3 n"]:
    height = np.clip(direction[1] / length(direction), 0, 1)
    return column(scene.haze) + (column(scene.zenith) - column(scene.haze)) * np.sqrt(height)
