"""What a scene is: a frozen description in metres that any picture size can be rendered from.

The world's frame is right-handed, y up, with the ground at y = 0. Colours are linear RGB, white about 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import cos, sin

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .bodies import BODIES
from .vectors import column, floats

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """A texture mixes two colours; its pattern repeats every `period_m`, turned by `angle` on flat ground."""

    texture: str
    base: Vector
    second: Vector
    period_m: float
    angle: float
    phase: Vector
    gloss: float


@dataclass(frozen=True)
class Shape:
    """A body scaled along its own axes, laid down or not, and turned about the vertical."""

    kind: str
    scale: Vector
    lying: bool
    turn: float

    @cached_property
    def rotation(self) -> Float[ndarray, "3 3"]:
        """From the body's frame to the world's, after scaling."""
        c, s = cos(self.turn), sin(self.turn)
        rows = ((c, s, 0), (0, 0, -1), (-s, c, 0)) if self.lying else ((c, 0, s), (0, 1, 0), (-s, 0, c))
        return np.array(rows, np.float32)

    @cached_property
    def inverse(self) -> Float[ndarray, "3 3"]:
        """From the world's frame to the unit body's."""
        return self.rotation.T / column(self.scale)

    @cached_property
    def hull(self) -> Float[ndarray, "c 3"]:
        """Corners of a polytope around the shape; the lowest corner is as low as the shape."""
        return BODIES[self.kind].hull @ (self.rotation * floats(self.scale)).T

    @cached_property
    def drop(self) -> float:
        """How high the body's origin lies above the shape's lowest point, in metres."""
        return -float(self.hull[:, 1].min())

    @cached_property
    def height(self) -> float:
        """In metres."""
        return float(np.ptp(self.hull[:, 1]))

    @cached_property
    def footprint(self) -> float:
        """The radius in metres of an upright cylinder around the shape."""
        return float(np.hypot(self.hull[:, 0], self.hull[:, 2]).max())


@dataclass(frozen=True)
class Thing:
    """A shape at a place. `colour` and `size` are the words for it; `support` is the index of the thing that
    it stands on."""

    shape: Shape
    colour: str
    size: str
    material: Material
    position: Vector = (0.0, 0.0, 0.0)
    support: int | None = None

    @property
    def kind(self) -> str:
        return self.shape.kind


@dataclass(frozen=True)
class Plane:
    """A flat side of the space in which everything lies: points p inside have `normal @ p <= offset`."""

    surface: str
    normal: Vector
    offset: float
    material: Material


@dataclass(frozen=True)
class Camera:
    """Looks along -z of its own frame. `focal` is in units of the picture's shorter side."""

    position: Vector
    yaw: float
    pitch: float
    roll: float
    focal: float

    @cached_property
    def rotation(self) -> Float[ndarray, "3 3"]:
        """From the camera's frame (x right, y up, z towards the viewer) to the world's."""
        cy, sy = cos(self.yaw), sin(self.yaw)
        cp, sp = cos(self.pitch), sin(self.pitch)
        cr, sr = cos(self.roll), sin(self.roll)
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return (turn @ tilt @ lean).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """A lamp at `position`, as bright as its colour at `reach_m`; with no reach, a sun in that direction."""

    position: Vector
    colour: Vector
    reach_m: float | None = None


@dataclass(frozen=True)
class Film:
    """How the picture is taken: brightness in stops, white balance, blur in shares of the shorter side,
    noise (of light and of the sensor), darkening of the corners, contrast, and the seed of the noise."""

    stops: float
    balance: Vector
    blur: float
    shot_noise: float
    read_noise: float
    vignette: float
    contrast: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """`above` and `below` are the light that comes from the sky or ceiling and from the ground; `haze` is
    what far ground fades into, and the sky at the horizon, which turns to `zenith` overhead."""

    setting: str
    camera: Camera
    planes: tuple[Plane, ...]
    things: tuple[Thing, ...]
    lights: tuple[Light, ...]
    above: Vector
    below: Vector
    haze: Vector
    zenith: Vector
    film: Film
