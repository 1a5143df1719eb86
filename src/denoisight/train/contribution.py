"""Which noise levels decide the quality, measured: a law over training timesteps from a per-step curve.

After Pang et al., ICLR 2025 (ADDP), who estimate contribution factors "from perception statistics": the gain of every
step of a walk, a line through the gains, and bounds on what one step may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from ..diffusion.timesteps import capped
from ..errors import RecipeError
from ..metrics import Metric
from ..runtime import write_text

FLOOR = 0.05
"""Every interval has at least this part of the mean interval's share."""

CAP = 0.3
"""No interval has more, where there are enough to share: the first step alone would otherwise take nearly all."""


class MeasuredLaw(BaseModel):
    """What was measured, and what follows of it: the share of each step's interval of timesteps.

    `scores` [steps] are means over seeds of the clean estimate after each step, at descending `timesteps`; `spread`
    [steps] their standard deviations over seeds (0 with one); `trivial` is what a trivial prediction scores. A step's
    interval reaches from its timestep down to the next one's, exclusive; the first one's up to T-1, the last one's
    down to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    num_timesteps: int = Field(ge=2)
    schedule: str
    task: str
    model: str
    metric: str
    better: Literal["higher", "lower"]
    steps: int = Field(ge=2)
    seeds: int = Field(ge=1)
    timesteps: tuple[int, ...]
    trivial: float
    scores: tuple[float, ...]
    spread: tuple[float, ...]
    gains: tuple[float, ...]
    shares: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> MeasuredLaw:
        grid, shares = np.array(self.timesteps), np.array(self.shares)
        if {len(x) for x in (self.timesteps, self.scores, self.spread, self.gains, self.shares)} != {self.steps}:
            raise ValueError("its lists are not as long as there are steps")
        if (np.diff(grid) >= 0).any() or grid.min() < 0 or grid.max() >= self.num_timesteps:
            raise ValueError("its timesteps do not fall from below T to 0 or above")
        if not np.isfinite(shares).all() or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
            raise ValueError("its shares are no probabilities")
        return self

    @property
    def probabilities(self) -> Float[Tensor, "T"]:
        """Of each timestep 0..T-1, in double precision: each share spread evenly over its interval."""
        ends = [self.num_timesteps, *(t + 1 for t in self.timesteps[1:]), 0]
        widths = -torch.tensor(ends, dtype=torch.float64).diff()
        per_step = torch.tensor(self.shares, dtype=torch.float64) / widths
        law = per_step.flip(0).repeat_interleave(widths.long().flip(0))
        return law / law.sum()

    def write(self, path: Path | str) -> None:
        write_text(path, self.model_dump_json(indent=2) + "\n")


def measure(
    scores: Float[np.ndarray, "seeds steps"],
    trivial: float,
    timesteps: Sequence[int],
    metric: str,
    meaning: Metric,
    *,
    task: str,
    model: str,
    schedule: str,
    num_timesteps: int,
) -> MeasuredLaw:
    """The law that follows from the score after every step, of each seed, and from a trivial prediction's.

    Raises `RecipeError` for fewer than two steps and for scores that are not finite.
    """
    if scores.shape[1] < 2 or not np.isfinite(scores).all() or not np.isfinite(trivial):
        raise RecipeError(
            f"A law needs a finite {metric} after each of two or more steps, and of a trivial prediction; take more "
            "steps, or images that have a score."
        )
    mean = scores.mean(0)
    gained = gains(mean, trivial, meaning)
    return MeasuredLaw(
        num_timesteps=num_timesteps,
        schedule=schedule,
        task=task,
        model=model,
        metric=metric,
        better=meaning.better,
        steps=scores.shape[1],
        seeds=len(scores),
        timesteps=tuple(timesteps),
        trivial=trivial,
        scores=tuple(mean.tolist()),
        spread=tuple((scores.std(0, ddof=1) if len(scores) > 1 else 0 * mean).tolist()),
        gains=tuple(gained.tolist()),
        shares=tuple(shares(gained, np.array(timesteps)).tolist()),
    )


def gains(scores: Float[np.ndarray, " steps"], trivial: float, meaning: Metric) -> Float[np.ndarray, " steps"]:
    """What each step adds to the one before, the first to the trivial prediction; a loss is no gain."""
    gained = np.diff(scores, prepend=trivial) * (1 if meaning.better == "higher" else -1)
    return gained.clip(min=0)


def shares(gained: Float[np.ndarray, " steps"], timesteps: Int[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """Positive and of sum 1: the line through the gains over t where there are any, floored and capped.

    A single gain, through which there is no line, stands for itself; without any all shares are equal.
    """
    positive, fitted = gained > 0, gained
    if not positive.any():
        return np.full(len(gained), 1 / len(gained))
    if positive.sum() > 1:
        slope, offset = np.polyfit(timesteps[positive], gained[positive], 1)
        fitted = (offset + slope * timesteps).clip(min=0)
    floored = torch.from_numpy(fitted.clip(min=FLOOR * fitted.mean()))
    return capped(floored, max(CAP, 1 / len(gained))).numpy()


def read_law(path: Path | str, num_timesteps: int) -> Float[Tensor, "T"]:
    """The probabilities over the timesteps 0..T-1 that a law file holds.

    Raises `RecipeError` for a file that is missing or damaged, and for one that was measured on another T.
    """
    try:
        law = MeasuredLaw.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"Cannot read the law {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(
            f"{path} holds no law of format 1 ({where + ': ' if where else ''}{first['msg']}); write one with "
            "`denoisight analyze`."
        ) from error
    if law.num_timesteps != num_timesteps:
        raise RecipeError(
            f"{path} is a law over {law.num_timesteps} timesteps, but this model has {num_timesteps}; measure one of "
            "its own with `denoisight analyze`."
        )
    return law.probabilities
