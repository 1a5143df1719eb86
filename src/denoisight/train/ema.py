"""Averaged weights: what is validated and shipped while the raw ones go on learning."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn
from torch.func import functional_call

# Batch statistics and counters are no parameters, so they are never averaged.


def trained(module: nn.Module) -> list[nn.Parameter]:
    """Frozen weights, such as an autoencoder's, never change and need no average."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def averaged(module: nn.Module, decay: float, *, steady: bool = False) -> EMAModel:
    """An average that follows closely at first and at `decay` a step in the end; or, `steady`, so from the start, where
    the weights that it starts from are good ones."""
    if steady:
        average = EMAModel(trained(module), decay=decay, min_decay=decay)
        average.optimization_step = 1  # else its first step would be a copy of the raw weights
        return average
    return EMAModel(trained(module), decay=decay, use_ema_warmup=True, power=3 / 4)


def set_decay(average: EMAModel, decay: float) -> None:
    """Of a steady average, from now on."""
    average.decay = average.min_decay = decay


def decay_of(rate: float, images: int, batch: int) -> float:
    """The decay a step of `batch` images of an average that keeps the share `rate` of itself over `images` of them.

    Diff-2-in-1 keeps 0.998 over ten steps of eight images.
    """
    return rate ** (batch / images)


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


class Averaged:
    """A module under the averaged weights of its trained parameters, called in evaluation mode, without copying any and
    without gradients.

    `average` must be of this module's trained parameters and no others. The raw weights are left alone: under autocast
    a pass of them without gradients would leave casts behind that a later pass with gradients takes, and gets none.
    """

    def __init__(self, module: nn.Module, average: EMAModel) -> None:
        self.module, self.average = module, average
        self.names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]

    @torch.no_grad()
    def __call__(self, *args: Any) -> Any:
        # Asked anew each time: loading a checkpoint replaces the list.
        weights = dict(zip(self.names, self.average.shadow_params, strict=True))
        learning = self.module.training
        self.module.eval()
        try:
            return functional_call(self.module, weights, args)
        finally:
            self.module.train(learning)
