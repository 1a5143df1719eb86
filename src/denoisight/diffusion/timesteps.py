"""Laws over the training noise levels: how often each timestep is trained on."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import UsageError, pick
from .schedule import Schedule


def law(name: str, schedule: Schedule, rho: float = 0.1) -> Float[Tensor, "T"]:
    """Probabilities over the timesteps 0..T-1: `(1 - rho) law + rho / T`.

    The share `rho` in [0, 1] of the uniform law keeps a peaked one from starving the levels it neglects.
    """
    if not 0 <= rho <= 1:
        raise UsageError(f"rho = {rho} was asked for; the uniform share of a timestep law lies in [0, 1].")
    weights = pick(LAWS, name, "timestep law")(schedule)
    return ((1 - rho) * weights / weights.sum() + rho / schedule.num_timesteps).float()


def draw(
    probabilities: Float[Tensor, "T"], count: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "count"]:
    """Timesteps of one batch, stratified: one from each of `count` equal slices of the law, in random order.

    Each alone follows the law exactly; together they cover it more evenly than independent draws, which
    lowers the variance of the loss. `generator` lives on the CPU, as does the result.
    """
    slices = torch.randperm(count, generator=generator)
    quantiles = (slices + torch.rand(count, generator=generator, dtype=torch.float64)) / count
    cumulated = probabilities.double().cpu().cumsum(0)
    return torch.searchsorted(cumulated / cumulated[-1], quantiles, right=True).clamp(max=len(cumulated) - 1)


def contributions(schedule: Schedule) -> Float[Tensor, "T"]:
    """c_t = lambda_t - lambda_(t-1), lambda = sigma / alpha, of the noise predictions in DDIM's result.

    `x0 = x_T / alpha_T - sum_t c_t eps(x_t, t)`, with lambda = 0 below t = 0. Where alpha = 0 the coefficient
    is infinite and the largest finite one stands in its place.
    """
    coefficients = schedule.lambdas.diff(prepend=schedule.lambdas.new_zeros(1))
    return coefficients.clamp(max=coefficients[coefficients.isfinite()].max())


LAWS: dict[str, Callable[[Schedule], Tensor]] = {
    "uniform": lambda schedule: torch.ones_like(schedule.alphas),
    "ct": contributions,
    "ct2": lambda schedule: contributions(schedule) ** 2,
}
"""Unnormalised weights of each timestep; "ct" and "ct2" are contribution-aware (Pang et al. 2025)."""
