"""Optimizers by name; each works on a module's named parameters and honours the rate of its groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError, pick

Named = Iterable[tuple[str, nn.Parameter]]

OUTER = ("conv_in", "conv_out", "embedding", "time_emb")
"""Parts of names of weights that face pixels, words or time instead of other features; AdamW learns them."""


def make_optimizer(name: str, module: nn.Module, lr: float, beta2: float, weight_decay: float) -> torch.optim.Optimizer:
    """ "adamw" or "muon". Raises `RecipeError` where this torch has no Muon."""
    trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    return pick(OPTIMIZERS, name, "optimizer")(trained, lr, beta2, weight_decay)


def adamw(named: Named, lr: float, beta2: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for _, p in named], lr=lr, betas=(0.9, beta2), weight_decay=weight_decay)


class Muon(torch.optim.Optimizer):
    """torch's Muon (Jordan et al. 2024) for hidden weights, kernels seen as matrices; AdamW for everything else.

    Muon's updates are scaled to AdamW's size (Liu et al. 2025, "Muon is scalable for LLM training"), so that one
    rate serves both.
    """

    def __init__(self, named: Named, lr: float, beta2: float, weight_decay: float) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise RecipeError(f"torch {torch.__version__} has no Muon; take torch 2.9 or later, or --optim.name adamw.")
        hidden = {n: p for n, p in named if p.ndim >= 2 and not any(part in n for part in OUTER)}
        self.kernels = list(hidden.values())
        self.matrices = [nn.Parameter(_matrix(kernel.data)) for kernel in self.kernels]
        rest = [p for n, p in named if n not in hidden]
        groups = [{"params": part} for part in (self.kernels, rest) if part]
        super().__init__(groups, {"lr": lr})
        self.inner = [adamw([("", p) for p in rest], lr, beta2, weight_decay)] if rest else []
        if self.matrices:
            self.inner.append(
                torch.optim.Muon(self.matrices, lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.data = _matrix(kernel.data)  # the same memory, wherever the kernel lies by now
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad.to(kernel.dtype), like=kernel)
        for optimizer in self.inner:
            for group in optimizer.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"inner": [optimizer.state_dict() for optimizer in self.inner]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for optimizer, state in zip(self.inner, state_dict["inner"], strict=True):
            optimizer.load_state_dict(state)


def _matrix(kernel: Tensor, like: Tensor | None = None) -> Float[Tensor, "out rest"]:
    """A kernel's memory as a matrix with a row an output, in the order in which `like` (itself) lies in memory."""
    if (kernel if like is None else like).is_contiguous():
        return kernel.reshape(len(kernel), -1)
    return kernel.movedim(1, -1).reshape(len(kernel), -1)


OPTIMIZERS: dict[str, Callable[[Named, float, float, float], torch.optim.Optimizer]] = {"adamw": adamw, "muon": Muon}
