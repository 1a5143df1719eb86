"""Noise schedules as pairs (alpha, sigma) of `x = alpha x0 + sigma noise`, and the grids samplers walk on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UsageError, pick


class Level(NamedTuple):
    """A noise level per item: `x = alpha x0 + sigma noise`, and its training timestep, 0..T-1.

    The clean point, where every sampler ends, is alpha = 1, sigma = 0, t = -1.
    """

    alpha: Float[Tensor, "*b"]
    sigma: Float[Tensor, "*b"]
    t: Float[Tensor, "*b"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The noise levels a network is trained on, from nearly clean (t = 0) to nearly all noise (t = T-1).

    Both tables are doubles on the CPU. sigma > 0 everywhere; alpha falls and may reach 0 at the last level.
    """

    name: str
    alphas: Float[Tensor, "T"]
    sigmas: Float[Tensor, "T"]
    ends_clean: bool = True
    """Whether walks end at the clean point; else at t = 0, as diffusers does under `set_alpha_to_one=False`."""

    def __post_init__(self) -> None:
        falling = bool((self.alphas.diff() < 0).all()) and bool((self.alphas >= 0).all())
        if not falling or bool((self.sigmas <= 0).any()):
            raise UsageError(
                f"Schedule {self.name!r} has alphas that rise or are negative, or sigmas that are not "
                "positive; check its betas."
            )

    @property
    def num_timesteps(self) -> int:
        return len(self.alphas)

    @property
    def lambdas(self) -> Float[Tensor, "T"]:
        """sigma / alpha, the noise-to-signal ratio; infinite where alpha = 0."""
        return self.sigmas / self.alphas

    def at(self, t: Int[Tensor, "*b"], dtype: torch.dtype = torch.float32) -> Level:
        """The levels of timesteps 0..T-1, or -1 for the clean point, on the device of `t`."""
        index, clean = t.clamp(min=0), t < 0
        alphas, sigmas = (
            table.to(dtype).to(t.device, non_blocking=True)[index] for table in (self.alphas, self.sigmas)
        )
        if self.ends_clean:
            alphas, sigmas = alphas.masked_fill(clean, 1.0), sigmas.masked_fill(clean, 0.0)
        return Level(alphas, sigmas, t.to(dtype))

    def timestep(self, noise_level: float) -> int:
        """The training timestep of a noise level in (0, 1]: t = noise_level T, at most T-1."""
        if not 0 < noise_level <= 1:
            raise UsageError(f"A noise level of {noise_level} was asked for; give one above 0 and at most 1.")
        return min(round(noise_level * self.num_timesteps), self.num_timesteps - 1)


def scaled_linear(
    num_timesteps: int = 1000,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    zero_terminal: bool = False,
) -> Schedule:
    """Square roots of beta on a line: the schedule of Stable Diffusion (Rombach et al. 2022)."""
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float64) ** 2
    return _variance_preserving("scaled-linear", betas, zero_terminal)


def linear(
    num_timesteps: int = 1000,
    beta_start: float = 0.0001,
    beta_end: float = 0.02,
    zero_terminal: bool = False,
) -> Schedule:
    """Betas on a line (Ho et al. 2020, section 4)."""
    betas = torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64)
    return _variance_preserving("linear", betas, zero_terminal)


def cosine(num_timesteps: int = 1000, offset: float = 0.008, most: float = 0.999) -> Schedule:
    """alpha^2 falls as a squared cosine (Nichol and Dhariwal 2021, equation 17); no beta is above `most`."""
    time = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    squared = ((time + offset) / (1 + offset) * torch.pi / 2).cos() ** 2
    return _variance_preserving("cosine", (1 - squared[1:] / squared[:-1]).clamp(max=most), False)


def flow(num_timesteps: int = 1000) -> Schedule:
    """Rectified flow (Liu et al. 2023): sigma = (t+1) / T, alpha = 1 - sigma.

    So t = T-1 is pure noise and t = -1 the clean point.
    """
    sigmas = torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps
    return Schedule("flow", 1 - sigmas, sigmas)


def zero_terminal(schedule: Schedule) -> Schedule:
    """A variance-preserving schedule, rescaled to end in pure noise (Lin et al. 2024, algorithm 1)."""
    first, last = schedule.alphas[0], schedule.alphas[-1]
    alphas = (schedule.alphas - last) * (first / (first - last))
    return Schedule(f"{schedule.name}-zero-terminal", alphas, (1 - alphas**2).sqrt())


def _variance_preserving(name: str, betas: Float[Tensor, "T"], rescale: bool) -> Schedule:
    squared = (1 - betas).cumprod(0)
    schedule = Schedule(name, squared.sqrt(), (1 - squared).sqrt())
    return zero_terminal(schedule) if rescale else schedule


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "scaled-linear": scaled_linear,
    "scaled-linear-zero-terminal": partial(scaled_linear, zero_terminal=True),
    "linear": linear,
    "linear-zero-terminal": partial(linear, zero_terminal=True),
    "cosine": cosine,
    "flow": flow,
}


def timesteps(schedule: Schedule, steps: int, spacing: str = "trailing", start: float | None = None) -> list[int]:
    """The descending timesteps of a walk of `steps` steps (Lin et al. 2024, table 2), before the clean point.

    `start` is the noise level in (0, 1] from which a part-noised x is denoised: the spacing is applied to the
    levels up to it, and the first timestep is exactly its own. Without `start`, only "trailing" begins at T-1
    for any number of steps: "leading" never does, and "linspace" gives t = 0 when asked for a single step.

    Raises `UsageError` when there are more steps than levels.
    """
    num_levels = schedule.num_timesteps if start is None else schedule.timestep(start) + 1
    if not 1 <= steps <= num_levels:
        raise UsageError(f"{steps} steps were asked for over {num_levels} noise levels; give 1 to {num_levels}.")
    grid = pick(SPACINGS, spacing, "spacing")(num_levels, steps)
    return grid if start is None else [num_levels - 1, *grid[1:]]


def _trailing(num_levels: int, steps: int) -> list[int]:
    return [round(num_levels * (steps - i) / steps) - 1 for i in range(steps)]


def _leading(num_levels: int, steps: int) -> list[int]:
    return [i * (num_levels // steps) for i in reversed(range(steps))]


def _leading_offset(num_levels: int, steps: int) -> list[int]:
    """A level noisier where there is one, as Stable Diffusion's own configuration asks for (`steps_offset=1`)."""
    grid = _leading(num_levels, steps)
    return [t + 1 for t in grid] if grid[0] + 1 < num_levels else grid


def _linspace(num_levels: int, steps: int) -> list[int]:
    return [round(i * ((num_levels - 1) / max(steps - 1, 1))) for i in reversed(range(steps))]


SPACINGS: dict[str, Callable[[int, int], list[int]]] = {
    "trailing": _trailing,
    "leading": _leading,
    "leading-offset": _leading_offset,
    "linspace": _linspace,
}
