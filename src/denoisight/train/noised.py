"""What the network is given while training, and what it shall answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..diffusion import prediction
from ..diffusion.noise import add_noise, gaussian, over
from ..diffusion.schedule import Level, Schedule
from ..models.backbone import Condition
from ..runtime import generator, item_seed
from .gt_augment import EXACT, GtAugment

Network = Callable[[Tensor, Level, Condition], Tensor]
"""`(x, level, cond) -> output` of the network's own kind."""


class Noised(NamedTuple):
    """The noisy latents, the output of the network's own kind that is right for them, and the truth that was noised."""

    x: Float[Tensor, "b c h w"]
    aim: Float[Tensor, "b c h w"]
    corrupted: Float[Tensor, "b c h w"]


def noised(
    clean: Float[Tensor, "b c h w"],
    corrupted: Float[Tensor, "b c h w"],
    level: Level,
    strength: Float[Tensor, " b"],
    seeds: Sequence[tuple[int, str, int]],
    *,
    gt: GtAugment,
    predicts: str,
    schedule: Schedule,
    teacher: Callable[[Tensor, Level], Tensor],
) -> Noised:
    """Noise on corrupted truths, under the aim of clean ones.

    On-policy corruption goes to a noisier level t', drawn uniformly above t, asks `teacher(x, level)` there for its
    output, and returns to t: with the noise that was put in ("on-policy"), or with the noise that the teacher implies,
    which is a step of DDIM ("on-policy-exact"). Kin: DepthGen (Saxena et al., 2023), DDP (Ji et al., ICCV 2023).
    `strength` in [0, 1] is how far each item goes from its truth; `seeds` as in `gt_augment.corrupt`.
    """
    noise = gaussian(clean.shape[1:], [item_seed(*seed) for seed in seeds]).to(clean)
    x = add_noise(corrupted, noise, level)
    if gt.on_policy:
        earlier = schedule.at(_noisier(level, seeds, schedule.num_timesteps))
        before = add_noise(corrupted, noise, earlier)
        with torch.no_grad():
            estimate = prediction.clean_from(predicts, teacher(before, earlier), before, earlier)
        there = prediction.noise_from(estimate, before, earlier) if EXACT in gt.kinds else noise
        x = x + over(strength, x) * (add_noise(estimate, there, level) - x)
        corrupted = corrupted + over(strength, x) * (estimate - corrupted)
    if gt.target == "naive":
        return Noised(x, prediction.target(predicts, corrupted, noise, level), corrupted)
    aim = prediction.output_from(predicts, clean, x, level)
    if gt.perturb:
        unseen = gaussian(clean.shape[1:], [item_seed(seed, f"perturb {key}", step) for seed, key, step in seeds])
        x = x + gt.perturb * over(level.sigma, x) * unseen.to(x)
    return Noised(x, aim, corrupted)


def _noisier(level: Level, seeds: Sequence[tuple[int, str, int]], num_timesteps: int) -> Tensor:
    """A timestep above each item's own, drawn uniformly; the last has none above and stays."""
    draws = [torch.rand((), generator=generator(seed, f"noisier {key}", step)) for seed, key, step in seeds]
    t = level.t.long()
    return t + (torch.stack(draws).to(level.t) * (num_timesteps - 1 - t)).ceil().long()
