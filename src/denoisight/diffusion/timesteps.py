"""Laws over the training noise levels: how much each timestep counts, by how often it is drawn or by its weight."""

from collections.abc import Callable
from math import pi

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import UsageError, pick
from .prediction import KINDS, velocity_weight
from .schedule import Level, Schedule

MOST = 20.0
"""No contribution counts more than so many even shares: towards pure noise they grow without bound."""

CAP_SNR = 5.0
"""gamma of min-SNR (Hang et al., ICCV 2023, section 3.4)."""

MODE_SCALE, SHIFT = 1.29, 3.0
"""s of mode sampling, and the factor by which its levels are shifted towards noise (Esser et al., ICML 2024)."""


def law(name: str, schedule: Schedule, predicts: str = "eps", rho: float = 0.1) -> Float[Tensor, "T"]:
    """Probabilities over the timesteps 0..T-1: `(1 - rho) law + rho / T`, for a network of the kind `predicts`.

    The share `rho` in [0, 1] of the uniform law keeps a peaked one from starving the levels it neglects. Raises
    `UsageError` for a share outside, and for an unknown law.
    """
    return mixed(pick(LAWS, name, "timestep law")(schedule, predicts), rho)


def mixed(weights: Float[Tensor, "T"], rho: float) -> Float[Tensor, "T"]:
    """Weights as probabilities, the share `rho` of them uniform. Raises `UsageError` for a share outside [0, 1]."""
    if not 0 <= rho <= 1:
        raise UsageError(f"rho = {rho} was asked for; the uniform share of a timestep law lies in [0, 1].")
    return ((1 - rho) * weights / weights.sum() + rho / len(weights)).float()


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
    return _finite(schedule.lambdas.diff(prepend=schedule.lambdas.new_zeros(1)))


def ancestral_contributions(schedule: Schedule) -> Float[Tensor, "T"]:
    """c_t = beta_t / (alpha_t sigma_t) of the noise predictions in the mean of DDPM's result.

    beta_t = 1 - (alpha_t / alpha_(t-1))^2 on a variance-preserving schedule (Ho et al. 2020, equation 11, unrolled); on
    others the share of its signal's energy that a step destroys. Where alpha = 0 as in `contributions`.
    """
    before = torch.cat([schedule.alphas.new_ones(1), schedule.alphas[:-1]])
    return _finite((1 - (schedule.alphas / before) ** 2) / (schedule.alphas * schedule.sigmas))


def native(schedule: Schedule, predicts: str) -> Float[Tensor, "T"]:
    """The squared coefficients of the network's own outputs in DDIM's result over all T steps.

    Each step is linear in x and in the output: `x' = p x + q output`, so that an output reaches the result through the
    p of all later steps. For "eps" they are c_t^2; for "v" `sin(d_t) prod cos(d_s)`, with d the angle of a step, which
    favours small t; for "flow" on its own schedule all the same; for "x0" the last step holds everything.
    """
    alpha, sigma = schedule.alphas, schedule.sigmas
    after_alpha = torch.cat([alpha.new_ones(1), alpha[:-1]])
    after_sigma = torch.cat([sigma.new_zeros(1), sigma[:-1]])
    a, b = pick(KINDS, predicts, "prediction kind")(alpha, sigma)
    # The clean estimate and the noise, both linear in x and the output (see `prediction`).
    whole = a * alpha - b * sigma
    carried = (after_alpha * a - after_sigma * b) / whole
    added = (after_sigma * alpha - after_alpha * sigma) / whole
    later = torch.cat([carried.new_ones(1), carried[:-1]]).cumprod(0)
    return _finite((added * later).abs()) ** 2


def converted(schedule: Schedule, predicts: str) -> Float[Tensor, "T"]:
    """What weighs a network's own squared error as c_t^2 weighs that of the noise: c_t^2 alpha^2 for "v"."""
    return _finite(contributions(schedule) ** 2 * _from_noise(schedule, predicts))


def min_snr(schedule: Schedule, predicts: str) -> Float[Tensor, "T"]:
    """min(SNR, 5) on the error of the clean estimate (Hang et al., ICCV 2023, equation 7), in the own kind."""
    snr = schedule.lambdas**-2
    own = velocity_weight("x0", _levels(schedule)) / velocity_weight(predicts, _levels(schedule))
    return _finite(snr.clamp(max=CAP_SNR) / own)


def p2(schedule: Schedule, predicts: str) -> Float[Tensor, "T"]:
    """1 / (1 + SNR) on the error of the noise (Choi et al., CVPR 2022, equation 8; gamma = k = 1), in the own kind."""
    return _finite(_from_noise(schedule, predicts) / (1 + schedule.lambdas**-2))


def logit_normal(schedule: Schedule) -> Float[Tensor, "T"]:
    """t / T whose logit is a standard normal (Esser et al., ICML 2024, equation 19)."""
    level = _shares(schedule)
    return (-(level.logit() ** 2) / 2).exp() / (level * (1 - level))


def mode(schedule: Schedule, shift: float = 1.0) -> Float[Tensor, "T"]:
    """Mode sampling with heavy tails (Esser et al., ICML 2024, equation 20): levels near one half are drawn more often.

    With `shift` each level s becomes shift s / (1 + (shift - 1) s), which is noisier (equation 23).
    """
    u = torch.linspace(0, 1, 64 * schedule.num_timesteps + 1, dtype=torch.float64)
    level = 1 - u - MODE_SCALE * ((pi / 2 * u).cos() ** 2 - 1 + u)
    level = shift * level / (1 + (shift - 1) * level)
    return torch.histc(level, schedule.num_timesteps, 0, 1)


Law = Callable[[Schedule, str], Tensor]

LAWS: dict[str, Law] = {
    "uniform": lambda schedule, predicts: torch.ones_like(schedule.alphas),
    "ramp": lambda schedule, predicts: _shares(schedule),
    "ct": lambda schedule, predicts: _bounded(contributions(schedule)),
    "ct2": lambda schedule, predicts: _bounded(contributions(schedule) ** 2),
    "ct-ddpm": lambda schedule, predicts: _bounded(ancestral_contributions(schedule)),
    "ct2-ddpm": lambda schedule, predicts: _bounded(ancestral_contributions(schedule) ** 2),
    "native": native,
    "converted": converted,
    "min-snr": min_snr,
    "p2": p2,
    "logit-normal": lambda schedule, predicts: logit_normal(schedule),
    "mode": lambda schedule, predicts: mode(schedule),
    "mode-shifted": lambda schedule, predicts: mode(schedule, SHIFT),
}
"""Unnormalised weights of each timestep, for a schedule and a kind of prediction.

"ct2", "native" and "converted" are contribution-aware (Pang et al., ICLR 2025), "ct" a milder one; "min-snr" and "p2"
are their authors' loss weights. "ramp" grows with the noise level. Contributions are bounded by `MOST`, which changes
nothing on the schedule of Stable Diffusion; on zero-terminal ones the last two timesteps would else have most of a law.
"""


def capped(weights: Float[Tensor, " n"], most: float) -> Float[Tensor, " n"]:
    """Weights as shares of 1, none above `most`; what is cut off goes to the others, in their proportions.

    Where too few are positive, as where `most` is below 1/n, they share evenly.
    """
    full = torch.zeros(len(weights), dtype=torch.bool)
    while True:
        rest = weights.masked_fill(full, 0.0).sum()
        if rest <= 0:
            return full / full.sum()
        shares = (weights * (1 - most * int(full.sum())) / rest).masked_fill(full, most)
        over = ~full & (shares > most * (1 + 1e-9))
        if not over.any():
            return shares / shares.sum()
        full |= over


def _finite(weights: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """Where a weight is infinite or has no value, at alpha = 0, the largest finite one stands."""
    known = weights.isfinite()
    return torch.where(known, weights, weights[known].max())


def _bounded(weights: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    return capped(weights, MOST / len(weights))


def _shares(schedule: Schedule) -> Float[Tensor, "T"]:
    """The middle of each timestep's share of [0, 1]."""
    return (torch.arange(schedule.num_timesteps, dtype=torch.float64) + 0.5) / schedule.num_timesteps


def _levels(schedule: Schedule) -> Level:
    return schedule.at(torch.arange(schedule.num_timesteps), torch.float64)


def _from_noise(schedule: Schedule, predicts: str) -> Float[Tensor, "T"]:
    """What turns a kind's squared error into that of the noise."""
    levels = _levels(schedule)
    return velocity_weight(predicts, levels) / velocity_weight("eps", levels)
