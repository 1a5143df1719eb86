"""Vectors in float32, one a column."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def floats(values: object) -> ndarray:
    return np.array(values, np.float32)


def column(values: object) -> Float[ndarray, "c 1"]:
    return floats(values)[:, None]


def dot(a: Float[ndarray, "3 n"], b: Float[ndarray, "3 n"]) -> Float[ndarray, " n"]:
    return np.einsum("in,in->n", a, b)


def length(vector: Float[ndarray, "3 n"]) -> Float[ndarray, " n"]:
    return np.sqrt(dot(vector, vector))
