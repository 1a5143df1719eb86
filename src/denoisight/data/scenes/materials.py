"""Draws what things and surfaces are made of: colours that have a name, and textures with parameters."""

from __future__ import annotations

from math import pi

from numpy.random import Generator

from .scene import Material, Vector

COLOURS: dict[str, Vector] = {
    "red": (0.75, 0.045, 0.04),
    "orange": (0.90, 0.26, 0.02),
    "yellow": (0.88, 0.68, 0.05),
    "green": (0.06, 0.42, 0.08),
    "blue": (0.04, 0.13, 0.68),
    "purple": (0.27, 0.06, 0.50),
    "pink": (0.90, 0.30, 0.48),
    "white": (0.86, 0.86, 0.84),
    "black": (0.028, 0.028, 0.032),
}
"""Far enough apart that shading, light and noise do not turn one into another."""

_STONE: tuple[Vector, ...] = ((0.42, 0.40, 0.37), (0.30, 0.30, 0.32), (0.52, 0.48, 0.42), (0.22, 0.24, 0.25))
_WOOD: tuple[Vector, ...] = ((0.42, 0.26, 0.14), (0.30, 0.17, 0.09), (0.52, 0.36, 0.22), (0.24, 0.15, 0.10))
_LAND: tuple[Vector, ...] = ((0.20, 0.27, 0.10), (0.50, 0.42, 0.28), (0.30, 0.23, 0.16), (0.33, 0.34, 0.34))
_PAINT: tuple[Vector, ...] = (
    (0.68, 0.66, 0.60), (0.55, 0.60, 0.62), (0.50, 0.56, 0.46), (0.62, 0.52, 0.44), (0.36, 0.42, 0.50)
)  # fmt: skip

Choices = tuple[tuple[str, tuple[Vector, ...], float], ...]
"""Which textures a surface may have, in which colours, with which period in metres."""

GROUNDS: dict[bool, Choices] = {
    True: (
        ("planks", _WOOD, 0.9), ("checker", _STONE, 0.6), ("tiles", _STONE, 0.5),
        ("mottled", _STONE, 0.7), ("plain", _PAINT, 1.0), ("stripes", _PAINT, 0.5),
    ),
    False: (
        ("mottled", _LAND, 0.8), ("mottled", _LAND, 2.5), ("plain", _LAND, 1.0),
        ("tiles", _STONE, 0.7), ("spots", _LAND, 0.7), ("checker", _STONE, 0.9),
    ),
}  # fmt: skip
"""By whether the ground is indoors."""

WALLS: Choices = (
    ("plain", _PAINT, 1.0), ("plain", _PAINT, 1.0), ("mottled", _PAINT, 1.2), ("stripes", _PAINT, 0.4),
    ("tiles", _PAINT, 0.35), ("spots", _PAINT, 0.5), ("planks", _WOOD, 0.7),
)  # fmt: skip

TEXTURES = ("plain", "plain", "stripes", "checker", "spots", "mottled", "gradient")
"""What things may wear."""

SHIFTED_TEXTURES = ("bricks", "zigzag", "rings", "marble", "weave")
"""What every surface and thing wears in the shifted split, and nothing elsewhere."""


def draw_surface(rng: Generator, choices: Choices, shifted: bool, plain: bool = False) -> Material:
    """The material of a ground, wall or ceiling: muted colours."""
    texture, palette, period = choices[rng.integers(len(choices))]
    if shifted:
        texture = SHIFTED_TEXTURES[rng.integers(len(SHIFTED_TEXTURES))]
    if plain:
        texture, palette = ("marble" if shifted else "plain"), ((0.72, 0.72, 0.70),)
    base = vary(rng, palette[rng.integers(len(palette))], 0.12)
    second = _lighter_or_darker(rng, base, 0.35 if texture in ("mottled", "planks", "marble") else 0.55)
    angle = rng.uniform(0, 2 * pi) if palette is _LAND else pi / 2 * rng.integers(2) + rng.uniform(-0.02, 0.02)
    x, y, _ = _phase(rng)
    return Material(
        texture, base, second, period * rng.uniform(0.8, 1.3), angle, (x, y, 0.0), 0.25 * (rng.random() < 0.2)
    )


def draw_coat(rng: Generator, colour: str, size_m: float, shifted: bool) -> Material:
    """The material of a thing of a named colour; its texture mixes tones of that colour."""
    textures = SHIFTED_TEXTURES if shifted else TEXTURES
    texture = textures[rng.integers(len(textures))]
    base = vary(rng, COLOURS[colour], 0.1)
    second = _lighter_or_darker(rng, base, 0.5)
    period = size_m * rng.uniform(0.45, 0.9)
    gloss = rng.uniform(0.2, 0.7) if rng.random() < 0.4 else 0.0
    return Material(texture, base, second, period, rng.uniform(0, pi), _phase(rng), gloss)


def vary(rng: Generator, colour: Vector, share: float) -> Vector:
    """Each channel up or down by at most this share."""
    red, green, blue = (channel * (1 + share * (2 * rng.random() - 1)) for channel in colour)
    return (red, green, blue)


def _lighter_or_darker(rng: Generator, colour: Vector, share: float) -> Vector:
    """Black has only lighter tones and white only darker ones."""
    tone = sum(colour) / 3
    up = tone < 0.05 or (tone < 0.6 and rng.random() < 0.4)
    red, green, blue = (min(0.95, c + share * (0.12 + 0.5 * c)) if up else c * (1 - 0.9 * share) for c in colour)
    return (red, green, blue)


def _phase(rng: Generator) -> Vector:
    x, y, z = 10 * rng.random(3)
    return (float(x), float(y), float(z))
