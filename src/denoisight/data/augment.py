"""Geometry and colour on whole Samples, before any codec: picture and truths always move together.

A sample of which something is asked in words (`Sample.phrases`) is never cut: a window may show another thing
leftmost or smallest, or not show the one meant, and no reader of words that we could write here would know. Mirrored
words stay true, so such samples are still flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Sample
from ..errors import UsageError

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Augment:
    """Vary a sample: `augment(sample, generator)`. Every call draws equally many numbers.

    flip      chance of a mirror image (its text's "left" and "right" are swapped, too)
    crop      the least share of a side that a random window of the picture's own shape keeps; 1 keeps all.
              Samples with phrases keep all
    colour    brightness, contrast and saturation each change by a factor in [1 - colour, 1 + colour]

    Raises `UsageError` for values outside their range.
    """

    flip: float = 0.5
    crop: float = 0.7
    colour: float = 0.3

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 < self.crop <= 1 and 0 <= self.colour <= 1):
            raise UsageError(f"{self} is out of range; flip and colour lie in [0, 1], crop in (0, 1].")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        mirror, share, down, right, *jitter = torch.rand(7, generator=generator).tolist()
        height, width = sample.size
        kept = 1 if is_spoken_of(sample) else self.crop + share * (1 - self.crop)
        h, w = max(1, round(kept * height)), max(1, round(kept * width))
        if (h, w) != (height, width):
            sample = sample.crop(int(down * (height - h + 1)), int(right * (width - w + 1)), h, w)
        if mirror < self.flip:
            sample = sample.flip()
        if self.colour == 0:
            return sample
        return replace(sample, query=replace(sample.query, image=tinted(sample.image, self.colour, jitter)))


def tinted(image: Float[Tensor, "3 h w"], colour: float, draws: Sequence[float]) -> Float[Tensor, "3 h w"]:
    """Brightness, contrast and saturation each changed by a factor in [1 - colour, 1 + colour], by draws in [0, 1)."""
    return tint(image, *(1 + colour * (2 * draw - 1) for draw in draws))


def tint(
    image: Float[Tensor, "3 h w"], brightness: float, contrast: float, saturation: float
) -> Float[Tensor, "3 h w"]:
    """Scale brightness, then the distance to the mean brightness, then that to each pixel's own grey."""
    image = image * brightness
    grey = _grey(image).mean()
    image = grey + contrast * (image - grey)
    own = _grey(image)
    return (own + saturation * (image - own)).clamp(0, 1)


def fit(sample: Sample, size: tuple[int, int]) -> Sample:
    """Bring a sample to `size` (height, width): cut the middle of that shape out of it, then resize.

    Nothing is stretched by more than rounding; metric depth keeps its metres, so a network sees it under
    another focal length. But a sample with phrases is stretched and not cut, as LAVT and VPD bring every picture of
    an expression to a square (Yang et al., CVPR 2022; Zhao et al., ICCV 2023).
    """
    height, width = size
    if is_spoken_of(sample):
        return sample.resize(height, width)
    h, w = sample.size
    scale = min(h / height, w / width)
    inner_h, inner_w = max(1, min(h, round(scale * height))), max(1, min(w, round(scale * width)))
    if (inner_h, inner_w) != (h, w):
        sample = sample.crop((h - inner_h) // 2, (w - inner_w) // 2, inner_h, inner_w)
    return sample.resize(height, width)


def is_spoken_of(sample: Sample) -> bool:
    """Whether any of its truths answers to words that a smaller window could make untrue."""
    return any(sample.phrases.values())


def _grey(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "1 h w"]:
    return torch.einsum("c,chw->hw", image.new_tensor(LUMA), image)[None]
