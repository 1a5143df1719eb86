"""Averaged weights: what is validated and shipped while the raw ones go on learning."""

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.training_utils import EMAModel
from torch import nn

# Batch statistics and counters are no parameters, so they are never averaged.


def trained(module: nn.Module) -> list[nn.Parameter]:
    """Frozen weights, such as an autoencoder's, never change and need no average."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def averaged(module: nn.Module, decay: float) -> EMAModel:
    """An average that follows closely at first and at `decay` a step in the end."""
    return EMAModel(trained(module), decay=decay, use_ema_warmup=True, power=3 / 4)


@contextmanager
def swapped_in(average: EMAModel, module: nn.Module) -> Iterator[None]:
    """Within the block the module holds the averaged weights and is in evaluation mode."""
    average.store(trained(module))
    average.copy_to(trained(module))
    module.eval()  # also drops prompts cached under the raw weights
    try:
        yield
    finally:
        average.restore(trained(module))
        module.train()
