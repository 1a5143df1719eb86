"""Pure numbers: what a prediction is worth against a truth. Count first, score later.

A `*_counts` function turns a batch into sums per image that may be added; a `*_scores` function turns such
sums, of one image or of many, into scores. So the same two functions give the score of an image, the mean
over images and the score over all pixels pooled, and any set of images can be cut into parts and merged.
"""

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["per-image", "pooled"]
"""The mean of the images' scores, or one score over the pixels of all images. Papers disagree: name it."""


@dataclass(frozen=True)
class Metric:
    """How a score is to be read."""

    unit: str
    better: Literal["higher", "lower"]
