"""Solid textures: how much of a material's second colour shows at a point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .scene import Material
from .vectors import column, length


def paint(material: Material, point: Float[ndarray, "3 n"], footprint: Float[ndarray, " n"]) -> Float[ndarray, "3 n"]:
    """The colour of a material at points in metres of its own frame; on flat ground the third axis is up.

    `footprint` is how many metres a pixel covers there: where a pattern is finer it fades to its mean.
    """
    if material.texture == "plain":
        return np.repeat(column(material.base), point.shape[1], axis=1)
    c, s = np.cos(material.angle), np.sin(material.angle)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32) / np.float32(material.period_m)
    mix = TEXTURES[material.texture](turn @ point + column(material.phase))
    contrast = np.clip(1.6 - footprint * np.float32(3 / material.period_m), 0, 1)
    mix = np.float32(0.35) + (mix - np.float32(0.35)) * contrast
    return column(material.base) + column(material.second - np.asarray(material.base)) * mix


def _fraction(x: ndarray) -> ndarray:
    return x - np.floor(x)


def _wave(x: ndarray) -> ndarray:
    """A rounded square wave of period 1."""
    return np.clip(0.5 + 2.5 * np.sin(np.float32(2 * np.pi) * x), 0, 1)


def _scatter(cell: ndarray) -> ndarray:
    """A number in [0, 1) for each whole number, without order (a multiplicative hash)."""
    mixed = (cell.astype(np.int64) * 2654435761) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 15)) * 2246822519 >> 13 & 0xFF).astype(np.float32) / 256


def _clouds(p: ndarray) -> ndarray:
    """Smooth and irregular: sines whose phases are bent by other sines."""
    x, y, z = np.float32(3.7) * p
    bend = np.sin(x + 1.3 * np.sin(0.7 * y + z)) + np.sin(1.1 * y - 0.6 * z + 1.7 * np.sin(0.8 * x))
    return 0.5 + 0.25 * np.sin(1.6 * bend + x - y) + 0.12 * bend


def _stripes(p: ndarray) -> ndarray:
    return _wave(p[0])


def _checker(p: ndarray) -> ndarray:
    return np.floor(p).sum(0) % 2


def _spots(p: ndarray) -> ndarray:
    offset = p - np.rint(p)
    return np.clip(4 - 10 * length(offset), 0, 1)


def _mottled(p: ndarray) -> ndarray:
    return np.clip(_clouds(p), 0, 1)


def _gradient(p: ndarray) -> ndarray:
    return 0.5 + 0.5 * np.sin(np.float32(1.2) * p.sum(0))


def _tiles(p: ndarray) -> ndarray:
    joint = (_fraction(p[0]) < 0.07) | (_fraction(p[1]) < 0.07)
    return np.where(joint, np.float32(1), 0.3 * _scatter(np.floor(p[0]) + 57 * np.floor(p[1])))


def _planks(p: ndarray) -> ndarray:
    board = np.floor(4 * p[0])
    length = 0.6 * p[1] + _scatter(board)
    joint = (_fraction(4 * p[0]) < 0.08) | (_fraction(length) < 0.02)
    grain = 0.15 * np.sin(40 * p[0] + 3 * np.sin(2.5 * p[1]))
    return np.where(joint, np.float32(1), 0.25 + grain + 0.4 * _scatter(board + 31 * np.floor(length)))


def _bricks(p: ndarray) -> ndarray:
    course = np.floor(4 * p[1])
    along = 1.5 * p[0] + 0.5 * (course % 2)
    joint = (_fraction(4 * p[1]) < 0.14) | (_fraction(along) < 0.06)
    return np.where(joint, np.float32(1), 0.4 * _scatter(course + 31 * np.floor(along)))


def _zigzag(p: ndarray) -> ndarray:
    return _wave(p[0] + 0.5 * np.abs(2 * _fraction(p[1]) - 1) + 0.3 * p[2])


def _rings(p: ndarray) -> ndarray:
    return _wave(1.5 * length(p - 5))


def _marble(p: ndarray) -> ndarray:
    return np.abs(np.sin(np.float32(2.5) * (p[0] + p[1]) + 4 * _clouds(0.8 * p))) ** 3


def _weave(p: ndarray) -> ndarray:
    over = np.floor(2 * p[:2]).sum(0) % 2 == 0
    thread = np.where(over, _fraction(2 * p[0]), _fraction(2 * p[1] + 0.5 * p[2]))
    return np.clip(4 * np.abs(thread - 0.5) - 0.4, 0, 1)


TEXTURES: dict[str, Callable[[ndarray], ndarray]] = {
    "stripes": _stripes,
    "checker": _checker,
    "spots": _spots,
    "mottled": _mottled,
    "gradient": _gradient,
    "tiles": _tiles,
    "planks": _planks,
    "bricks": _bricks,
    "zigzag": _zigzag,
    "rings": _rings,
    "marble": _marble,
    "weave": _weave,
}
"""All but "plain". Each takes points in units of the period."""
