"""Draws the description of a scene from its index: the place, the camera, the light and the film.

Every part has random numbers of its own, so that a change to one leaves the others as they were.
"""

from __future__ import annotations

from math import atan2, cos, pi, sin

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from ...runtime import item_seed
from .layout import Room, draw_things
from .materials import GROUNDS, WALLS, draw_surface, vary
from .scene import Camera, Film, Light, Plane, Scene, Vector

FIELD_M = 60.0
"""Things on open ground stay within this distance of its middle."""


def draw_scene(seed: int, index: int, shifted: bool = False) -> Scene:
    """The scene of this index; `shifted` ones have textures, lights and clutter that others never have."""
    root = item_seed(seed, f"scenes/{index}")
    place, looks, light, film = (Generator(PCG64(SeedSequence(root, spawn_key=(part,)))) for part in range(4))
    indoors = place.random() < 0.6
    camera = _draw_camera(place)
    room = _draw_room(place, camera) if indoors else Room(-FIELD_M, FIELD_M, -FIELD_M, FIELD_M, np.inf)
    things = draw_things(place, looks, camera, room, shifted)
    lights, above, below = _light_room(light, room, shifted) if indoors else _light_field(light, shifted)
    haze, zenith = _draw_sky(light, above)
    return Scene(
        "room" if indoors else "field",
        camera,
        _draw_planes(looks, room, indoors, shifted),
        things,
        lights,
        above,
        below,
        haze,
        zenith,
        _draw_film(film),
    )


def _draw_camera(rng: Generator) -> Camera:
    """Looks from a child's, an adult's or a ladder's height at about the origin."""
    focal = 0.85 * (1.75 / 0.85) ** rng.random()
    distance = focal * rng.uniform(2.2, 3.6)
    low, high = ((0.35, 0.9), (0.9, 1.8), (1.8, 2.9))[rng.integers(3)]
    height = min(rng.uniform(low, high), 0.85 * distance)
    away = (distance**2 - height**2) ** 0.5
    yaw = rng.uniform(-pi, pi)
    pitch = -atan2(height - 0.3, away) + rng.uniform(-0.06, 0.16) / focal
    roll = rng.uniform(-0.06, 0.06)
    return Camera((away * sin(yaw), height, away * cos(yaw)), yaw, pitch, roll, focal)


def _draw_room(rng: Generator, camera: Camera) -> Room:
    """Walls around both the camera and the origin."""
    x, y, z = camera.position
    left, right, back, front = rng.uniform(0.8, 3.2, 4)
    height = max(rng.uniform(2.4, 3.4), y + 0.4)
    return Room(min(x, 0) - left, max(x, 0) + right, min(z, 0) - back, max(z, 0) + front, height)


def _draw_planes(rng: Generator, room: Room, indoors: bool, shifted: bool) -> tuple[Plane, ...]:
    ground = Plane("ground", (0.0, -1.0, 0.0), 0.0, draw_surface(rng, GROUNDS[indoors], shifted))
    if not indoors:
        return (ground,)
    paper = draw_surface(rng, WALLS, shifted)
    accent = draw_surface(rng, WALLS, shifted) if rng.random() < 0.4 else paper
    white = draw_surface(rng, WALLS, shifted, plain=True)
    return (
        ground,
        Plane("wall", (-1.0, 0.0, 0.0), -room.left, paper),
        Plane("wall", (1.0, 0.0, 0.0), room.right, accent),
        Plane("wall", (0.0, 0.0, -1.0), -room.back, paper),
        Plane("wall", (0.0, 0.0, 1.0), room.front, accent if rng.random() < 0.3 else paper),
        Plane("ceiling", (0.0, 1.0, 0.0), room.height, white),
    )


def _light_room(rng: Generator, room: Room, shifted: bool) -> tuple[tuple[Light, ...], Vector, Vector]:
    """One to three lamps. Shifted: strong colours, or a single lamp in the dark."""
    dark = shifted and rng.random() < 0.5
    lights = []
    for _ in range(1 if dark else rng.integers(1, 4)):
        aim, away = rng.uniform(0, 2 * pi), rng.uniform(0.7, 2.4)
        x = float(np.clip(away * cos(aim), room.left + 0.3, room.right - 0.3))
        z = float(np.clip(away * sin(aim), room.back + 0.3, room.front - 0.3))
        y = room.height * rng.uniform(0.72, 0.95)
        strength = rng.uniform(0.5, 1.1)
        tint = _tint(rng, strong=shifted and not dark)
        lights.append(Light((x, y, z), _times(tint, strength), 2.2))
    ambient = rng.uniform(0.03, 0.06) if dark else rng.uniform(0.22, 0.42)
    above = _times(_tint(rng, strong=False), ambient)
    return tuple(lights), above, _times(above, 0.7)


def _light_field(rng: Generator, shifted: bool) -> tuple[tuple[Light, ...], Vector, Vector]:
    """A sun high enough for short shadows, and now and then a weak second light. Shifted: a low red sun, or a
    lamp at night."""
    aim = rng.uniform(0, 2 * pi)
    tint = _tint(rng, strong=False)
    if shifted and rng.random() < 0.4:
        lamp = Light((1.5 * cos(aim), rng.uniform(1.6, 2.8), 1.5 * sin(aim)), _times(tint, 1.2), 2.2)
        above = _times((0.6, 0.75, 1.0), rng.uniform(0.03, 0.06))
        return (lamp,), above, _times(above, 0.5)
    low, high = (0.12, 0.3) if shifted else (0.45, 1.25)
    height = rng.uniform(low, high)
    sun = Light((cos(height) * cos(aim), sin(height), cos(height) * sin(aim)), _times(tint, rng.uniform(0.7, 1.2)))
    if shifted:
        sun = Light(sun.position, vary(rng, (1.5, 0.75, 0.35), 0.1))
    above = _times(vary(rng, (0.8, 0.9, 1.1), 0.1), rng.uniform(0.2, 0.5))
    lights = [sun]
    if rng.random() < 0.25:
        side = aim + rng.uniform(1.5, 4.5)
        lights.append(Light((0.7 * cos(side), 0.7, 0.7 * sin(side)), _times(tint, rng.uniform(0.2, 0.4))))
    return tuple(lights), above, _times(above, 0.45)


def _draw_sky(rng: Generator, above: Vector) -> tuple[Vector, Vector]:
    """Pale at the horizon, bluer or grayer overhead, as bright as the light that it gives."""
    level = 2.2 * sum(above) / 3
    blue = rng.random() ** 0.5
    zenith = (0.75 - 0.6 * blue, 0.8 - 0.4 * blue, 0.85 + 0.1 * blue)
    return _times(vary(rng, (0.85, 0.93, 1.0), 0.08), level), _times(vary(rng, zenith, 0.06), level)


def _draw_film(rng: Generator) -> Film:
    return Film(
        stops=rng.uniform(-0.45, 0.45),
        balance=vary(rng, (1.0, 1.0, 1.0), 0.06),
        blur=rng.uniform(0.002, 0.006) * (1 + 1.5 * (rng.random() < 0.12)),
        shot_noise=0.025 * rng.random() ** 2,
        read_noise=0.012 * rng.random() ** 2,
        vignette=0.35 * rng.random() ** 2,
        contrast=rng.uniform(0.9, 1.12),
        seed=int(rng.integers(2**62)),
    )


def _tint(rng: Generator, strong: bool) -> Vector:
    """White, a little warm or cool; or a strong colour that leaves every channel some light."""
    warmth = rng.uniform(-0.12, 0.2)
    if not strong:
        return (1 + warmth, 1.0, 1 - warmth)
    hue = rng.uniform(0, 2 * pi)
    red, green, blue = (0.85 + 0.6 * cos(hue + turn) for turn in (0, 2 * pi / 3, 4 * pi / 3))
    return (red, green, blue)


def _times(colour: Vector, factor: float) -> Vector:
    red, green, blue = colour
    return (red * factor, green * factor, blue * factor)
