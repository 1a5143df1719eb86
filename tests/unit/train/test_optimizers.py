import pytest
import torch
from torch import nn

from denoisight.errors import UsageError
from denoisight.train.optimizers import OPTIMIZERS, Muon, Orthogonal, make_optimizer, orthogonal


def network(layout: torch.memory_format = torch.contiguous_format) -> nn.Module:
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(3, 8, 3),
            "hidden": nn.Conv2d(8, 6, 3),
            "linear": nn.Linear(6, 4),
            "norm": nn.LayerNorm(4),
        }
    )
    return net.to(memory_format=layout)


def loss(net: nn.Module) -> torch.Tensor:
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    features = net["hidden"](net["conv_in"](x).relu()).mean((2, 3))
    return (net["norm"](net["linear"](features)) - 1).pow(2).mean()


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(net)
        value.backward()
        optimizer.step()
    return value.item()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(name: str) -> None:
    net = network()
    before = loss(net).item()
    assert learn(net, make_optimizer(name, net, 1e-2, 0.99, 0.0), 30) < 0.7 * before


def test_muon_is_torchs_own_on_each_kernel_as_a_matrix() -> None:
    net = network()
    optimizer = Muon(list(net.named_parameters()), 1e-2, 0.99, 0.01)
    kernel = net["hidden"].weight
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    theirs = torch.optim.Muon([matrix], 1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    before = net["conv_in"].weight.detach().clone()
    for step in range(3):
        optimizer.zero_grad()
        loss(net).backward()
        assert kernel.grad is not None
        matrix.grad = kernel.grad.flatten(1).clone()
        theirs.step()
        optimizer.step()
        # A step moves a weight by about 1.5e-2; theirs is orthogonalised in bfloat16.
        torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=(step + 1) * 4e-3)
        if not step:
            moved = (net["conv_in"].weight.detach() - before).abs()
    # AdamW's first step is about the rate everywhere, whatever the gradient.
    assert moved.median() == pytest.approx(1e-2, rel=0.05)


def test_memory_layout_changes_nothing() -> None:
    """Orthogonalising treats rows and columns alike, so their order in memory is only an order."""
    values = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = network(layout)
        learn(net, Muon(list(net.named_parameters()), 1e-2, 0.99, 0.01), 1)
        values.append(net["hidden"].weight.detach().contiguous())
    # Gradients differ in their last digits, by how the machine sums; a wrong order would show in the step's own 1e-2.
    torch.testing.assert_close(*values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (12, 12)])
def test_singular_values_become_alike(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -1, shape[1])
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal(matrix, torch.float32) @ right.T
    values = found.diagonal()
    assert values.min() > 0.5 and values.max() < 1.3
    torch.testing.assert_close(found, values.diag(), rtol=0, atol=1e-4)


def test_a_resumed_optimizer_goes_on_the_same() -> None:
    straight, broken = network(), network()
    learn(straight, make_optimizer("muon", straight, 1e-2, 0.99, 0.01), 6)
    first = make_optimizer("muon", broken, 1e-2, 0.99, 0.01)
    learn(broken, first, 3)
    second = make_optimizer("muon", broken, 1e-2, 0.99, 0.01)
    second.load_state_dict(first.state_dict())
    learn(broken, second, 3)
    for a, b in zip(straight.parameters(), broken.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_what_torchs_muon_began_goes_on() -> None:
    matrix = nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))
    theirs = torch.optim.Muon([matrix], 1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    mine = Orthogonal([{"params": [matrix]}], 1e-2, 0.01)
    matrix.grad = torch.ones_like(matrix)
    theirs.step()
    mine.load_state_dict(theirs.state_dict())
    before = theirs.state[matrix]["momentum_buffer"].clone()
    mine.step()
    torch.testing.assert_close(mine.state[matrix]["momentum_buffer"], before.lerp(matrix.grad, 0.05))


def test_its_rate_is_that_of_its_groups() -> None:
    net = network()
    optimizer = make_optimizer("muon", net, 1e-2, 0.99, 0.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for p in net.parameters()]
    learn(net, optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="adamw, muon"):
        make_optimizer("sgd", network(), 1e-2, 0.99, 0.0)
