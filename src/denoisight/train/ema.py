"""Averaged weights: what is validated and shipped while the raw ones go on learning."""

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.training_utils import EMAModel
from torch import nn

# Batch statistics and counters are no parameters, so they are never averaged.


def averaged(module: nn.Module, decay: float) -> EMAModel:
    """An average that follows closely at first and at `decay` a step in the end."""
    return EMAModel(module.parameters(), decay=decay, use_ema_warmup=True, power=3 / 4)


@contextmanager
def swapped_in(average: EMAModel, module: nn.Module) -> Iterator[None]:
    """Within the block the module holds the averaged weights and is in evaluation mode."""
    average.store(module.parameters())
    average.copy_to(module.parameters())
    module.eval()  # also drops prompts cached under the raw weights
    try:
        yield
    finally:
        average.restore(module.parameters())
        module.train()
