"""Draws the things of a scene and puts them on the ground, on one another and in rows, never into others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import cos, exp, hypot, pi, sin

from numpy.random import Generator

from .bodies import BODIES
from .materials import COLOURS, draw_coat
from .scene import Camera, Shape, Thing, Vector

SIZES: dict[str, tuple[float, float]] = {"small": (0.2, 0.28), "large": (0.46, 0.62)}
"""Half the extent in metres of things that go by the word."""

HIGHEST_M = 1.5
"""Piles are lower than this, and lamps hang higher."""

_PROPORTIONS: dict[str, tuple[tuple[float, float], ...]] = {
    "box": ((0.6, 0.9), (0.5, 0.95), (0.6, 0.9)),
    "sphere": ((0.85, 1.0),) * 3,
    "cylinder": ((0.5, 0.75), (0.6, 1.0), (0.5, 0.75)),
    "cone": ((0.6, 0.85), (1.3, 1.9), (0.6, 0.85)),
    "pyramid": ((0.65, 0.9), (1.0, 1.6), (0.65, 0.9)),
    "wedge": ((0.6, 0.9), (0.75, 1.2), (0.6, 0.95)),
    "dome": ((0.8, 1.0), (0.7, 1.0), (0.8, 1.0)),
}
_ROUND = ("sphere", "cylinder", "cone", "dome")
_LIES = {"cylinder": 0.35, "wedge": 0.25}
_TRIES = 60


@dataclass(frozen=True)
class Room:
    """The free ground in metres: x from left to right, z from back to front; and how high the ceiling is."""

    left: float
    right: float
    back: float
    front: float
    height: float


Stack = list[Thing]
"""Things on top of each other, the lowest first."""

Circle = tuple[float, float, float]
"""x, z and radius in metres of ground that is taken."""


def draw_things(rng: Generator, looks: Generator, camera: Camera, room: Room, shifted: bool) -> tuple[Thing, ...]:
    """3 to 8 things, or 9 to 14 in shifted scenes; those for which no free place is found are left out."""
    num = rng.integers(9, 15) if shifted else rng.integers(3, 9)
    things: list[Thing] = []
    for _ in range(num):
        things.append(_draw_thing(rng, looks, things, shifted))
    stacks = _pile_up(rng, things)
    rows = _line_up(rng, stacks)
    ground = _Ground(camera, room)
    placed: list[Thing] = []
    for row in rows:
        for stack, (x, z, _) in ground.place(rng, row):
            for level, thing in enumerate(stack):
                support = len(placed) - 1 if level else None
                placed.append(replace(thing, position=(x, thing.position[1], z), support=support))
    return tuple(placed)


def _draw_thing(rng: Generator, looks: Generator, others: list[Thing], shifted: bool) -> Thing:
    """Often of the kind or colour of an earlier thing, so that one word does not tell them apart."""
    kind = tuple(BODIES)[rng.integers(len(BODIES))]
    colour = tuple(COLOURS)[rng.integers(len(COLOURS))]
    same_kind, same_colour, which = rng.random(3)
    if others:
        other = others[int(which * len(others))]
        kind = other.kind if same_kind < 0.3 else kind
        colour = other.colour if same_colour < 0.25 else colour
    size = "large" if rng.random() < (0.35 if shifted else 0.5) else "small"
    half = rng.uniform(*SIZES[size])
    x, y, z = (half * rng.uniform(low, high) for low, high in _PROPORTIONS[kind])
    if kind == "sphere":
        y = x
    lies, turn = rng.random(), rng.uniform(0, 2 * pi)
    shape = Shape(kind, (x, y, x if kind in _ROUND else z), lies < _LIES.get(kind, 0.0), turn)
    return Thing(shape, colour, size, draw_coat(looks, colour, half, shifted))


def _pile_up(rng: Generator, things: list[Thing]) -> list[Stack]:
    """Put some of the smaller things on flat tops, up to three of them and lower than any lamp."""
    stacks: list[Stack] = []
    for thing in sorted(things, key=lambda t: -t.shape.footprint):
        bases = [s for s in stacks if len(s) < 3 and _fits_on(thing, s[-1])]
        if bases and rng.random() < 0.5:
            stack = bases[rng.integers(len(bases))]
            top = stack[-1].position[1] + stack[-1].shape.scale[1]
            stack.append(replace(thing, position=(0.0, top + thing.shape.drop, 0.0)))
        else:
            stacks.append([replace(thing, position=(0.0, thing.shape.drop, 0.0))])
    return [stacks[i] for i in rng.random(len(stacks)).argsort()]


def _fits_on(thing: Thing, base: Thing) -> bool:
    shape = base.shape
    flat = shape.kind in ("box", "cylinder") and not shape.lying
    low = base.position[1] + shape.scale[1] + thing.shape.height < HIGHEST_M
    return flat and low and thing.shape.footprint <= 1.1 * min(shape.scale[0], shape.scale[2])


def _line_up(rng: Generator, stacks: list[Stack]) -> list[list[Stack]]:
    """Groups to be placed together: at times a row of three or more, else each stack alone."""
    if len(stacks) < 3 or rng.random() > 0.4:
        return [[stack] for stack in stacks]
    num = int(rng.integers(3, min(len(stacks), 5) + 1))
    return [stacks[:num], *([stack] for stack in stacks[num:])]


class _Ground:
    """Remembers where things stand, as circles, and finds places that are free and in view."""

    def __init__(self, camera: Camera, room: Room) -> None:
        self.camera, self.room = camera, room
        self.axes: list[Vector] = camera.rotation.T.tolist()
        self.taken: list[Circle] = []

    def place(self, rng: Generator, row: list[Stack]) -> list[tuple[Stack, Circle]]:
        """A place for each stack of a row that stays together; of a row that fits nowhere, for as many of its
        stacks as find one alone."""
        radii = [max(thing.shape.footprint for thing in stack) for stack in row]
        gap = rng.uniform(0.04, 0.2)
        along = [0.0]
        for before, after in pairwise(radii):
            along.append(along[-1] + before + after + gap)
        for ahead, aside, angle in rng.random((_TRIES, 3)).tolist():
            x, z = self._spot(ahead, aside)
            dx, dz = cos(pi * angle), sin(pi * angle)
            steps = [step - along[-1] / 2 for step in along]
            circles = [(x + dx * step, z + dz * step, radius) for step, radius in zip(steps, radii, strict=True)]
            if all(self._free(*circle) for circle in circles):
                self.taken += circles
                return list(zip(row, circles, strict=True))
        return [spot for stack in row for spot in self.place(rng, [stack])] if len(row) > 1 else []

    def _spot(self, ahead: float, aside: float) -> tuple[float, float]:
        """A place (x, z) in front of the camera, from two numbers in [0, 1]: about as far away as the origin,
        and evenly over the picture's width."""
        x, _, z = self.camera.position
        distance = hypot(x, z) * exp(1.1 * ahead - 0.5)
        shift = 0.9 * (aside - 0.5) / self.camera.focal * distance
        c, s = cos(self.camera.yaw), sin(self.camera.yaw)
        return x - s * distance + c * shift, z - c * distance - s * shift

    def _free(self, x: float, z: float, radius: float) -> bool:
        """Whether a stack would be in the room, in view, and clear of the camera and of all that stands."""
        room, eye = self.room, self.camera.position
        inside = room.left + radius < x < room.right - radius and room.back + radius < z < room.front - radius
        if not inside or any(hypot(x - a, z - b) < radius + r + 0.03 for a, b, r in self.taken):
            return False
        step = (x - eye[0], 0.6 * radius - eye[1], z - eye[2])
        across, up, back = (sum(a * b for a, b in zip(axis, step, strict=True)) for axis in self.axes)
        reach = -0.5 * back / self.camera.focal
        clear = hypot(step[0], step[2]) > radius + 0.9 and back < -0.8
        return clear and abs(across) < 0.95 * reach and abs(up) < 0.85 * reach
