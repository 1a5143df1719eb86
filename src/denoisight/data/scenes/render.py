"""From a description to a picture and its truths, at any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.random import PCG64, Generator
from scipy.ndimage import gaussian_filter

from .scene import Film, Scene
from .shade import shade
from .trace import cast
from .vectors import column

PIXEL_BLUR = 0.5
"""Standard deviation in pixels of the blur of every sensor; it hides that light was sampled at points."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture [0, 1] of a scene, and the truth at the centre of each of its pixels.

    `surface` numbers the things in order, then the planes, then the sky, where depth and normals are 0.
    """

    rgb: Float[ndarray, "3 h w"]
    depth_m: Float[ndarray, "h w"]
    normals: Float[ndarray, "3 h w"]
    surface: Int[ndarray, "h w"]


def render(scene: Scene, height: int, width: int) -> View:
    x, y = _pixel_centres(height, width)
    hits = cast(scene, x, y)
    colour = shade(scene, hits, 1 / min(height, width))
    solid = hits.surface < len(scene.things) + len(scene.planes)
    normals = (scene.camera.rotation.T @ hits.normal) * solid
    return View(
        expose(scene.film, colour.reshape(3, height, width)),
        np.where(solid, hits.depth_m, 0).reshape(height, width),
        normals.reshape(3, height, width),
        hits.surface.reshape(height, width),
    )


def expose(film: Film, light: Float[ndarray, "3 h w"]) -> Float[ndarray, "3 h w"]:
    """The photograph, in steps of 1/255, of linear light: exposure by its mean, then the film's own ways."""
    height, width = light.shape[1:]
    gain = 2**film.stops * 0.24 / max(float(light.mean()), 0.01)
    x, y = _pixel_centres(height, width)
    corner = np.float32(film.vignette) * (x * x + y * y).reshape(height, width)
    light = light * (np.float32(gain) * column(film.balance)[..., None]) * (1 - np.minimum(corner, 0.8))
    blur = float(np.hypot(film.blur * min(height, width), PIXEL_BLUR))
    light = gaussian_filter(light, (0, blur, blur), mode="nearest", truncate=2.5)
    # a soft shoulder: highlights approach 1 instead of being cut
    light = light / np.sqrt(1 + np.square(0.8 * light))
    tone = np.minimum(light, 1) ** np.float32(film.contrast / 2.2)
    noise = Generator(PCG64(film.seed)).standard_normal(tone.shape, np.float32)
    tone += noise * np.sqrt(np.float32(film.read_noise) ** 2 + np.float32(film.shot_noise) ** 2 * tone)
    return np.rint(np.clip(tone, 0, 1) * 255) / np.float32(255)


def _pixel_centres(height: int, width: int) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"]]:
    """x to the right and y upwards from the middle, in units of the shorter side, row by row."""
    short = min(height, width)
    x = ((np.arange(width) + 0.5 - width / 2) / short).astype(np.float32)
    y = ((height / 2 - 0.5 - np.arange(height)) / short).astype(np.float32)
    return np.tile(x, height), np.repeat(y, width)
