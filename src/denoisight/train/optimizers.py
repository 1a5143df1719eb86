"""Optimizers by name; each works on a module's named parameters and honours the rate of its groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import pick

Named = Iterable[tuple[str, nn.Parameter]]
Rate = Callable[[str], float]
"""How fast a weight of this name learns, in shares of the optimizer's own rate."""

OUTER = ("conv_in", "conv_out", "embedding", "time_emb")
"""Parts of names of weights that face pixels, words or time instead of other features; AdamW learns them."""


def even(name: str) -> float:
    return 1.0


def make_optimizer(
    name: str, module: nn.Module, lr: float, beta2: float, weight_decay: float, rate: Rate = even
) -> torch.optim.Optimizer:
    """ "adamw" or "muon"."""
    trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    return pick(OPTIMIZERS, name, "optimizer")(trained, lr, beta2, weight_decay, rate)


def adamw(named: Named, lr: float, beta2: float, weight_decay: float, rate: Rate = even) -> torch.optim.Optimizer:
    return torch.optim.AdamW(_groups(named, lr, rate), lr=lr, betas=(0.9, beta2), weight_decay=weight_decay)


def _groups(named: Named, lr: float, rate: Rate) -> list[dict[str, Any]]:
    """A group for each rate, the fastest first; `rate` stays in it for who sets the optimizer's own later."""
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named:
        by_rate.setdefault(rate(name), []).append(parameter)
    return [{"params": by_rate[share], "lr": lr * share, "rate": share} for share in sorted(by_rate, reverse=True)]


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for hidden weights, kernels seen as matrices; AdamW for everything else."""

    def __init__(self, named: Named, lr: float, beta2: float, weight_decay: float, rate: Rate = even) -> None:
        hidden = {n: p for n, p in named if p.ndim >= 2 and not any(part in n for part in OUTER)}
        self.kernels = list(hidden.values())
        self.matrices = [nn.Parameter(_matrix(kernel.data)) for kernel in self.kernels]
        rest = [(n, p) for n, p in named if n not in hidden]
        groups = [{"params": part} for part in (self.kernels, [p for _, p in rest]) if part]
        super().__init__(groups, {"lr": lr})
        self.inner = [adamw(rest, lr, beta2, weight_decay, rate)] if rest else []
        if self.matrices:
            matrices = _groups(zip(hidden, self.matrices, strict=True), lr, rate)
            self.inner.append(Orthogonal(matrices, lr, weight_decay))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.data = _matrix(kernel.data)  # the same memory, wherever the kernel lies by now
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad.to(kernel.dtype), like=kernel)
        for optimizer in self.inner:
            for group in optimizer.param_groups:
                group["lr"] = self.param_groups[0]["lr"] * group.get("rate", 1.0)
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


class Orthogonal(torch.optim.Optimizer):
    """Steps along the momentum of matrices with all its singular values made alike (Jordan et al. 2024), as long as
    AdamW's would be (Liu et al. 2025, "Muon is scalable for LLM training"), so that one rate serves both.

    `torch.optim.Muon` is the same in bfloat16 alone, which many CPUs can only emulate: there it takes several times as
    long as all else in a step, and single precision a fraction of that.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._step(matrix, matrix.grad, group["lr"], group["weight_decay"], group["momentum"])

    def _step(self, matrix: Tensor, grad: Tensor, lr: float, weight_decay: float, momentum: float) -> None:
        state = self.state[matrix]
        if not state:  # named as torch's, so that what began with that goes on
            state["momentum_buffer"] = torch.zeros_like(grad)
        mean = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        update = orthogonal(grad.lerp(mean, momentum), torch.bfloat16 if grad.is_cuda else torch.float32)
        # A matrix whose singular values are 1 has the root mean square 1 / sqrt(longer side), AdamW's steps about 0.2.
        matrix.mul_(1 - lr * weight_decay).add_(update, alpha=-lr * 0.2 * max(matrix.shape) ** 0.5)


def orthogonal(matrix: Float[Tensor, "rows columns"], dtype: torch.dtype) -> Float[Tensor, "rows columns"]:
    """The matrix with singular values between about 0.7 and 1.2, by five steps of the quintic Newton-Schulz iteration
    with Jordan's coefficients, which drive small values up fast and need not converge; computed in `dtype`."""
    x = matrix.to(dtype)
    x = x.T if (tall := len(x) > x.shape[1]) else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return (x.T if tall else x).to(matrix.dtype)


OPTIMIZERS: dict[str, Callable[[Named, float, float, float, Rate], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "muon": Muon,
}
