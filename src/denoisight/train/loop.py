"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from ..annotations import Batch
from ..errors import DenoisightError


@dataclass(frozen=True)
class Record:
    """What is known after an optimiser step. The tensors are scalars still on the device: reading them waits for it."""

    step: int
    losses: dict[str, Tensor]
    gradient_norm: Tensor
    lr: float
    images: int
    check: Callable[[], None]
    """Raises `NotFinite` where a loss since the last look is no number; for that it waits, too."""


def fit(
    objective: nn.Module,
    batches: Iterable[Batch],
    optimizer: Optimizer,
    accelerator: Accelerator,
    *,
    seed: int,
    start: int,
    lr: Callable[[int], float],
    clip: float = 1.0,
    accumulate: int = 1,
    after: Callable[[int], None] = lambda step: None,
    check_every: int = 20,
) -> Iterator[Record]:
    """Train until the batches end, yielding a record after each optimiser step; step `start` is done already.

    `lr(step)` is asked before each step. `after(step)` runs after each, for averaging. The losses are looked at
    together every `check_every` steps, and when a record's `check` is called, so that the device is not waited for in
    between; one that is not finite raises `DenoisightError` with its step and items.
    """
    # Unseen: (step, items, loss) since the last look.
    unseen: list[tuple[int, tuple[str, ...], Tensor]] = []
    step, images = start, 0
    losses: dict[str, Tensor] = {}
    for micro, batch in enumerate(batches):
        if micro % accumulate == 0:
            for group in optimizer.param_groups:
                group["lr"] = lr(step) * group.get("rate", 1.0)
            losses, images = {}, 0
        with accelerator.accumulate(objective):
            parts = objective(batch.to(accelerator.device), seed=seed + micro % accumulate, step=step)
            accelerator.backward(parts["loss"])
            norm = torch.zeros(())
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(objective.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        losses = {k: losses.get(k, 0) + v.detach() / accumulate for k, v in parts.items()}
        images += len(batch) * accelerator.num_processes
        unseen.append((step + 1, batch.keys, parts["loss"].detach()))
        if (micro + 1) % accumulate:
            continue
        step += 1
        after(step)
        if step % check_every == 0:
            _look(unseen)
        yield Record(step, losses, norm, optimizer.param_groups[0]["lr"], images, partial(_look, unseen))
    _look(unseen)


def warmup_cosine(peak: float, warmup: int, progress: Callable[[int], float]) -> Callable[[int], float]:
    """A rate that rises linearly over `warmup` steps and falls along a cosine as `progress` goes from 0 to 1."""

    def rate(step: int) -> float:
        rise = min(1.0, (step + 1) / max(warmup, 1))
        return peak * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, progress(step))))

    return rate


def _look(unseen: list[tuple[int, tuple[str, ...], Tensor]]) -> None:
    """Raise for the first loss that is not finite; forget them all otherwise."""
    if not unseen:
        return
    finite = torch.stack([loss for _, _, loss in unseen]).isfinite().tolist()
    for (step, keys, loss), good in zip(unseen, finite, strict=True):
        if not good:
            raise NotFinite(step, keys, float(loss))
    unseen.clear()


class NotFinite(DenoisightError):
    """A loss became NaN or infinite."""

    def __init__(self, step: int, keys: tuple[str, ...], loss: float) -> None:
        self.step, self.keys = step, keys
        super().__init__(f"The loss became {loss} at step {step}, on the items {', '.join(keys)}.")
