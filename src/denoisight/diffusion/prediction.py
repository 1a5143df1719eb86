"""What a network predicts, and the one contract that all of them are wrapped into.

Every kind predicts a fixed mixture `a noise + b x0`:

    eps  noise                  Ho et al. 2020
    v    alpha noise - sigma x0 Salimans and Ho 2022
    x0   x0                     Ho et al. 2020
    flow noise - x0             Liu et al. 2023

so that, with `x = alpha x0 + sigma noise`, the clean estimate is the solution of two linear equations.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, pick
from .noise import over
from .schedule import Level, Schedule

Denoiser = Callable[[Tensor, Level, Any], Tensor]
"""`(x [b ...], level, cond) -> clean x [b ...]`; a network has the same form but returns its own kind."""

Mixture = tuple[Tensor | float, Tensor | float]

KINDS: dict[str, Callable[[Tensor, Tensor], Mixture]] = {
    "eps": lambda alpha, sigma: (1.0, 0.0),
    "v": lambda alpha, sigma: (alpha, -sigma),
    "x0": lambda alpha, sigma: (0.0, 1.0),
    "flow": lambda alpha, sigma: (1.0, -1.0),
}
"""(weight of the noise, weight of x0) in what each kind predicts, as a function of (alpha, sigma)."""


def target(
    kind: str, clean: Float[Tensor, "b ..."], noise: Float[Tensor, "b ..."], level: Level
) -> Float[Tensor, "b ..."]:
    """What a network of this kind should answer for `x = alpha clean + sigma noise`."""
    a, b = _mixture(kind, over(level.alpha, clean), over(level.sigma, clean))
    return a * noise + b * clean


def clean_from(
    kind: str, output: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], level: Level
) -> Float[Tensor, "b ..."]:
    """The clean estimate that a network's output stands for.

    Undefined for "eps" where alpha = 0: see `require_defined`, which a model asks once when it is built.
    """
    if kind == "x0":  # the general formula divides by sigma, which is 0 at the clean point
        return output
    alpha, sigma = over(level.alpha, x), over(level.sigma, x)
    a, b = _mixture(kind, alpha, sigma)
    return (a * x - sigma * output) / (a * alpha - b * sigma)


def noise_from(clean: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], level: Level) -> Float[Tensor, "b ..."]:
    """The noise that turns `clean` into `x`; zero where sigma = 0, where x holds none."""
    alpha, sigma = over(level.alpha, x), over(level.sigma, x)
    return torch.where(sigma > 0, (x - alpha * clean) / sigma, 0.0)


def output_from(
    kind: str, clean: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], level: Level
) -> Float[Tensor, "b ..."]:
    """What a network must answer at `x` for its clean estimate to be `clean`.

    This is the training target also when x was made from a corrupted truth: the aim is still `clean`.
    """
    return target(kind, clean, noise_from(clean, x, level), level)


def velocity_weight(kind: str, level: Level) -> Float[Tensor, "b"]:
    """What turns this kind's squared error into that of the velocity, which all levels make about equally large.

    In x0 it is 1 / sigma^2, or SNR + 1 (Salimans and Ho, ICLR 2022, section 4). Infinite at the clean point for "x0".
    """
    a, b = _mixture(kind, level.alpha, level.sigma)
    return (a * level.alpha - b * level.sigma) ** -2


def denoiser(network: Denoiser, kind: str) -> Denoiser:
    """Wrap `network(x, level, cond) -> output of this kind` into `(x, level, cond) -> clean x`."""
    pick(KINDS, kind, "prediction kind")

    def denoise(x: Tensor, level: Level, cond: Any) -> Tensor:
        return clean_from(kind, network(x, level, cond), x, level)

    return denoise


def require_defined(kind: str, schedule: Schedule) -> None:
    """Raise `RecipeError` when some level of the schedule leaves x0 undetermined: "eps" where alpha = 0."""
    a, b = _mixture(kind, schedule.alphas, schedule.sigmas)
    if bool((a * schedule.alphas - b * schedule.sigmas == 0).any()):
        raise RecipeError(
            f"Schedule {schedule.name!r} begins in pure noise, where {kind!r} prediction says nothing of the "
            "clean image; choose 'v', 'x0' or 'flow', or a schedule without zero terminal SNR."
        )


def _mixture(kind: str, alpha: Tensor, sigma: Tensor) -> Mixture:
    return pick(KINDS, kind, "prediction kind")(alpha, sigma)
