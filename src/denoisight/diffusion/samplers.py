"""Samplers as generators over a denoiser: one network evaluation per step, one `Step` after each.

A walk goes over the timesteps of `schedule.timesteps` and ends at the clean point, where x is the last clean
estimate. Levels are computed before the walk and nothing in it waits for the device. Fresh noise comes from
`noise(step index) -> [b ...]`, so that the caller ties it to the items; samplers that need none never ask for it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UsageError
from .noise import add_noise, over
from .prediction import Denoiser, noise_from
from .schedule import Level, Schedule, timesteps


@dataclass(frozen=True, eq=False)
class Step:
    """What is known after one step."""

    index: int
    """0 for the first, noisiest step."""
    level: Level
    """Where the denoiser was asked, per item [b]."""
    x: Float[Tensor, "b ..."]
    """The sample after the step, at the next level."""
    clean: Float[Tensor, "b ..."]
    """The clean estimate made at `level`."""


def ddim(
    denoiser: Denoiser,
    x: Float[Tensor, "b ..."],
    cond: Any,
    schedule: Schedule,
    steps: int,
    *,
    spacing: str = "trailing",
    start: float | None = None,
    eta: float = 0.0,
    noise: Callable[[int], Tensor] | None = None,
    compat: str | None = None,
) -> Iterator[Step]:
    """Walk from `x` to the clean estimate by DDIM (Song et al. 2021, equation 12), for any (alpha, sigma).

    `x` is noise, or a clean x noised to the noise level `start` in (0, 1]. `eta` in [0, 1] is the share of
    fresh noise, from none to ancestral sampling. `compat="diffusers"` repeats the stepping of diffusers'
    DDIMScheduler: each step leads T // S timesteps down, which, unless S divides T, misses the next timestep of
    the grid and may miss the clean point at the end.

    Raises `UsageError` for an eta without noise or outside [0, 1], and for steps or names that do not fit.
    """
    if not 0 <= eta <= 1 or (eta > 0 and noise is None):
        raise UsageError(f"eta = {eta} was asked for; give one in [0, 1], with `noise` where it is above 0.")
    for index, (level, after) in enumerate(_walk(schedule, steps, spacing, start, compat, x)):
        clean = denoiser(x, level, cond)
        direction = noise_from(clean, x, level)
        if noise is None or eta == 0:
            x = add_noise(clean, direction, after)
        else:
            fresh = eta * _ancestral_sigma(level, after)
            kept = after._replace(sigma=(after.sigma**2 - fresh**2).clamp(min=0).sqrt())
            x = add_noise(clean, direction, kept) + over(fresh, x) * noise(index).to(x)
        yield Step(index, level, x, clean)


def euler(
    denoiser: Denoiser,
    x: Float[Tensor, "b ..."],
    cond: Any,
    schedule: Schedule,
    steps: int,
    *,
    spacing: str = "trailing",
    start: float | None = None,
    noise: Callable[[int], Tensor] | None = None,
) -> Iterator[Step]:
    """Walk from `x` to the clean estimate by Euler steps on the probability-flow ODE.

    The ODE is taken as `d(x/sigma) = x0 d(alpha/sigma)` (Lu et al. 2022, DPM-Solver++): a step is finite also
    from alpha = 0. Where alpha > 0 it is k-diffusion's Euler step in x/alpha over sigma/alpha, on rectified
    flow the straight line, and everywhere DDIM at eta = 0 written without the noise estimate.
    """
    for index, (level, after) in enumerate(_walk(schedule, steps, spacing, start, None, x)):
        clean = denoiser(x, level, cond)
        x = _straight(x, clean, level, after)
        yield Step(index, level, x, clean)


def dpmpp_2m(
    denoiser: Denoiser,
    x: Float[Tensor, "b ..."],
    cond: Any,
    schedule: Schedule,
    steps: int,
    *,
    spacing: str = "trailing",
    start: float | None = None,
    noise: Callable[[int], Tensor] | None = None,
) -> Iterator[Step]:
    """Walk from `x` to the clean estimate by DPM-Solver++ 2M (Lu et al. 2022b, algorithm 2).

    `euler`, with the clean estimate extended in log(alpha / sigma) by the one before it. The first step, a step
    that follows pure noise, and the last, which is infinitely long there, have nothing to extend and are Euler's.
    """
    before: tuple[Tensor, Tensor] | None = None
    for index, (level, after) in enumerate(_walk(schedule, steps, spacing, start, None, x)):
        clean = denoiser(x, level, cond)
        length = _log_ratio(after) - _log_ratio(level)
        extended = clean
        if before is not None:
            earlier, covered = before
            share = length / (2 * covered)
            extended = clean + over(torch.where(share.isfinite(), share, 0.0), x) * (clean - earlier)
        x, before = _straight(x, extended, level, after), (clean, length)
        yield Step(index, level, x, clean)


def ancestral(
    denoiser: Denoiser,
    x: Float[Tensor, "b ..."],
    cond: Any,
    schedule: Schedule,
    steps: int,
    *,
    spacing: str = "trailing",
    start: float | None = None,
    noise: Callable[[int], Tensor] | None = None,
) -> Iterator[Step]:
    """Draw each x from the posterior q(x_after | x, x0) at the clean estimate (Ho et al. 2020, equations 6 and 7).

    For any (alpha, sigma) and any grid. k-diffusion's Euler-ancestral step is the same draw in x/alpha, and DDIM
    at eta = 1 the same written with the noise estimate.

    Raises `UsageError` where there is no `noise` to draw with.
    """
    if noise is None:
        raise UsageError("An ancestral sampler draws fresh noise at every step; give it `noise`, or take 'ddim'.")
    for index, (level, after) in enumerate(_walk(schedule, steps, spacing, start, None, x)):
        clean = denoiser(x, level, cond)
        fresh = _ancestral_sigma(level, after)
        kept = level.alpha / after.alpha * (after.sigma / level.sigma) ** 2
        middle = over(kept, x) * x + over(after.alpha - kept * level.alpha, x) * clean
        x = middle + over(fresh, x) * noise(index).to(x)
        yield Step(index, level, x, clean)


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {
    "ddim": ddim,
    "euler": euler,
    "dpmpp-2m": dpmpp_2m,
    "ddpm": ancestral,
    "euler-ancestral": ancestral,
}
"""Two names for one walk: DDPM and Euler-ancestral differ in coordinates alone."""


@torch.no_grad()
def invert(
    denoiser: Denoiser,
    x: Float[Tensor, "b ..."],
    cond: Any,
    schedule: Schedule,
    steps: int,
    *,
    start: float,
    spacing: str = "trailing",
) -> Float[Tensor, "b ..."]:
    """The noisy x at the noise level `start` from which `ddim` leads back to the clean `x`: its walk, backwards.

    A step back needs the noise estimate at the level it leads to, where x is not known yet; the x before it stands in
    (Song et al. 2021, section 4.3), so the way back is exact in the limit of many steps only. `start` in (0, 1] and
    `spacing` must be those of the walk. Nothing is random: one image has one answer.
    """
    for level, after in reversed(_walk(schedule, steps, spacing, start, None, x)):
        noise = noise_from(denoiser(x, level, cond), x, level)
        clean = (x - over(after.sigma, x) * noise) / over(after.alpha, x)
        x = add_noise(clean, noise, level)
    return x


def _walk(
    schedule: Schedule, steps: int, spacing: str, start: float | None, compat: str | None, x: Tensor
) -> list[tuple[Level, Level]]:
    """The pairs (level of a step, level it leads to), for every item of x, at least in single precision."""
    grid = timesteps(schedule, steps, spacing, start)
    after = [*grid[1:], -1]
    if compat is not None:
        if compat != "diffusers" or start is not None:
            raise UsageError(f"compat={compat!r} was asked for; 'diffusers', without `start`, is the only one.")
        after = [max(t - schedule.num_timesteps // steps, -1) for t in grid]
    pairs = torch.tensor([grid, after], device=x.device).T[..., None].expand(-1, -1, len(x))
    levels = schedule.at(pairs, torch.promote_types(x.dtype, torch.float32))
    return [(Level(*(part[i, 0] for part in levels)), Level(*(part[i, 1] for part in levels))) for i in range(steps)]


def _straight(x: Tensor, clean: Tensor, level: Level, after: Level) -> Tensor:
    """The exact solution of the probability-flow ODE from one level to the next if the clean estimate stays."""
    ratio = after.sigma / level.sigma
    return over(ratio, x) * x + over(after.alpha - ratio * level.alpha, x) * clean


def _log_ratio(level: Level) -> Float[Tensor, "b"]:
    """log(alpha / sigma): minus infinity in pure noise, infinity at the clean point."""
    return level.alpha.log() - level.sigma.log()


def _ancestral_sigma(level: Level, after: Level) -> Float[Tensor, "b"]:
    """The standard deviation of q(x_after | x, x0): Song et al. 2021, equation 16, for any (alpha, sigma)."""
    carried = level.alpha / after.alpha * after.sigma
    return after.sigma / level.sigma * (level.sigma**2 - carried**2).clamp(min=0).sqrt()
