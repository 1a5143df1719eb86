"""How created images differ from those that they are made of."""

from __future__ import annotations

from dataclasses import dataclass

from ..diffusion.samplers import SAMPLERS
from ..errors import UsageError, pick
from .synthesize import INVERSION, STRATEGIES, check_eta

LEVEL_STEP = 0.05
"""Drawn noise levels are multiples of this, so that images of one level share network passes."""


@dataclass(frozen=True)
class Variation:
    """How images are varied.

    per_image: how many are made of each. noise_level: (lowest, highest) in (0, 1]; where they differ each image's own
    is drawn from the multiples of 0.05 between them. noise: a name of `STRATEGIES`. steps: denoising steps, all below
    the noise level. sampler: a name of `SAMPLERS`; "" is "dpmpp-2m", whose few steps lead where "ddim" needs many, or
    "ddim" with an eta, and after inversion, which walks its way backwards. guidance: the weight of the words, away from
    what is avoided or from the empty prompt (None: 1 with something to avoid, else 0, as in the paper). avoid: what all
    images are kept away from, unless their captions say. seed: with an image's key it fixes all that is drawn. res:
    longest side in pixels, 0 for the image's own (None: the model's). batch: images in one network pass. eta: of "ddim"
    alone, the share of fresh noise at each step in [0, 1].
    """

    per_image: int = 4
    noise_level: tuple[float, float] = (0.6, 0.6)
    noise: str = "gaussian"
    steps: int = 25
    sampler: str = ""
    guidance: float | None = None
    avoid: tuple[str, ...] = ()
    seed: int = 0
    res: int | None = None
    batch: int = 16
    eta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("per_image", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, but must be at least 1.")
        if self.guidance is not None and not self.guidance >= 0:
            raise UsageError(f"guidance is {self.guidance}; give 0 for none, or more.")
        if self.res is not None and self.res < 0:
            raise UsageError(f"res is {self.res}; give a number of pixels, or 0 for the image's own size.")
        low, high = self.noise_level
        if not 0 < low <= high <= 1:
            raise UsageError(f"The noise level is {low:g} to {high:g}; give one above 0 and at most 1, or LOW:HIGH.")
        if not self.levels:
            raise UsageError(f"Between the noise levels {low:g} and {high:g} lies no multiple of {LEVEL_STEP:g}.")
        pick(dict.fromkeys(STRATEGIES), self.noise, "noise")
        if not self.sampler:
            usual = "ddim" if self.eta > 0 or self.noise == INVERSION else "dpmpp-2m"
            object.__setattr__(self, "sampler", usual)
        pick(SAMPLERS, self.sampler, "sampler")
        check_eta(self.eta, self.sampler)
        drawn = self.eta > 0 or self.sampler not in ("ddim", "euler", "dpmpp-2m")
        if self.noise == INVERSION and self.per_image > 1 and low == high and not drawn:
            raise UsageError(
                "Inversion draws no noise, so the images made of one would be alike; take 1 per image, a range of "
                "noise levels, an eta above 0, or a sampler that draws noise (ddpm)."
            )

    @property
    def levels(self) -> tuple[float, ...]:
        """The noise levels that an image may get."""
        low, high = self.noise_level
        if low == high:
            return (low,)
        every = (round(LEVEL_STEP * k, 2) for k in range(1, round(1 / LEVEL_STEP) + 1))
        return tuple(level for level in every if low <= level <= high)
