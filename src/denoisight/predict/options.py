"""How a prediction is made, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..diffusion.guidance import SHARES
from ..errors import UsageError, pick

Route = Literal["denoise", "readout"]

STRONGEST = 10.0
"""The largest weight of guidance: estimates move that many times their difference."""


@dataclass(frozen=True)
class Options:
    """How a prediction is made.

    steps: denoising steps (None: the model's own). ensemble: members that are merged, with uncertainty.
    res: longest side in pixels at which the network works, 0 for the image's own (None: the model's).
    route: None takes the one the model learnt, denoising first. seed: with an image's key it fixes the noise,
    whatever the batch and order. batch: images in one network pass. match_input_resolution: give annotations the
    size of the image rather than that of the network. trajectory: keep the clean estimate of every step.
    ensemble_method: how members are merged, see `ensemble.METHODS`. latents: noise [n e, c, h, w] to start from in
    place of the seed's, for images in one batch.
    guidance: how strongly the words steer, in [0, 10], away from what the query avoids, or with nothing to avoid from
    the empty prompt (None: 1 for queries with something to avoid, 0 for others). guide: the noise levels between which
    it acts. negatives: "mean" shares the weight out among what is avoided, "sum" gives it to each. image_guidance: the
    weight towards the image, for networks that edit.
    stop_at: a noise level in [0, 1); the walk over all its steps is left once the next level is below it (None: the
    model's own, 0: never).
    mirror: by features, the mean of what is seen in the image and in its mirror image, for one more pass.
    """

    steps: int | None = None
    ensemble: int = 1
    res: int | None = None
    route: Route | None = None
    seed: int = 0
    batch: int = 8
    sampler: str = "ddim"
    match_input_resolution: bool = True
    trajectory: bool = False
    ensemble_method: str = "closed-form"
    latents: Tensor | None = None
    guidance: float | None = None
    guide: tuple[float, float] = (0.0, 1.0)
    negatives: str = "mean"
    image_guidance: float = 0.0
    stop_at: float | None = None
    mirror: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "ensemble", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, but must be at least 1.")
        if self.res is not None and self.res < 0:
            raise UsageError(f"res is {self.res}; give a number of pixels, or 0 for the image's own size.")
        for name in ("guidance", "image_guidance"):
            value = getattr(self, name)
            # Written so that NaN is refused, too.
            if value is not None and not 0 <= value <= STRONGEST:
                raise UsageError(f"{name} is {value}; give 0 for none, or up to {STRONGEST:g}.")
        low, high = self.guide
        if not 0 <= low < high <= 1:
            raise UsageError(f"guide is from {low} to {high}; give two noise levels in [0, 1], the lower one first.")
        pick(SHARES, self.negatives, "way to weigh negatives")
        if self.stop_at is not None and not 0 <= self.stop_at < 1:
            raise UsageError(
                f"stop_at is {self.stop_at}; give a noise level of at least 0, which never stops, below 1."
            )
