"""The distributions of directions that normals are learnt by, against their closed forms and plain sums."""

import math

import pytest
import torch

from denoisight.tasks.normals import LEAST_CONCENTRATION, LOSSES, angle, angular_vmf, concentration

UP = torch.tensor([0.0, 0, 1])
ANGLES = torch.linspace(0, math.pi, 200_001, dtype=torch.float64)
"""From the truth; a ring at each has a solid angle of 2 pi sin."""
CONCENTRATIONS = [0.011, 0.5, 1.0, 5.0, 40.0, 200.0]


def pixels(*vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [n c] as [1 c 1 n]."""
    return torch.stack(list(vectors)).T[None, :, None]


def outputs_at(k: float) -> torch.Tensor:
    """A head's outputs at every angle from `UP`, all with the concentration k."""
    above = k - 1 - LEAST_CONCENTRATION
    fourth = above if above > 0 else math.log1p(above)
    directions = torch.stack([ANGLES.sin(), torch.zeros_like(ANGLES), ANGLES.cos(), torch.full_like(ANGLES, fourth)])
    return directions[None, :, None]


def truths() -> torch.Tensor:
    return UP.double()[None, :, None, None].expand(1, 3, 1, len(ANGLES))


@pytest.mark.parametrize("k", CONCENTRATIONS)
@pytest.mark.parametrize("name", ["angular-vmf", "vmf"])
def test_the_density_is_one_over_the_sphere_and_its_mean_angle_is_what_is_expected(name: str, k: float) -> None:
    way = LOSSES[name]
    outputs = outputs_at(k)
    torch.testing.assert_close(concentration(outputs), torch.full_like(outputs[:, 0], k))
    density = torch.exp(-way.error(outputs, truths())).flatten() / (2 * math.pi)
    ring = 2 * math.pi * ANGLES.sin() * density
    assert torch.trapezoid(ring, ANGLES).item() == pytest.approx(1, abs=1e-5)
    assert way.expected is not None
    expected = way.expected(torch.tensor(k, dtype=torch.float64)).item()
    assert torch.trapezoid(ring * ANGLES, ANGLES).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("k", CONCENTRATIONS)
def test_the_angular_density_is_the_one_of_the_paper(k: float) -> None:
    """(k^2 + 1) exp(-k angle) / (2 pi (1 + exp(-pi k)))."""
    density = (k**2 + 1) * torch.exp(-k * ANGLES) / (2 * math.pi * (1 + math.exp(-math.pi * k)))
    error = angular_vmf(outputs_at(k), truths()).flatten()
    torch.testing.assert_close(error, -density.log() - math.log(2 * math.pi), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_finite_slope_at_0_and_pi_and_at_no_direction(name: str) -> None:
    sure = torch.tensor([2.0])
    outputs = pixels(*(torch.cat([v, sure]) for v in (UP, 3 * UP, -UP, -5 * UP, 0 * UP))).requires_grad_()
    way = LOSSES[name]
    channels = 4 if way.expected else 3
    truth = pixels(*[UP] * 5)
    error = way.error(outputs[:, :channels], truth)
    error.sum().backward()
    assert torch.isfinite(error).all() and outputs.grad is not None and torch.isfinite(outputs.grad).all()


def test_the_angle_is_right_and_its_slope_one_at_the_smallest_angles() -> None:
    """Where 1 - cos, and the arc cosine that clips it, have lost both."""
    for small in (1e-5, 1e-3, 0.04):
        turned = torch.tensor([small], requires_grad=True)
        outputs = torch.stack([turned.sin(), 0 * turned, turned.cos()])[None, :, None]
        turn = angle(outputs, pixels(UP))
        turn.sum().backward()
        assert turn.item() == pytest.approx(small, rel=1e-4)
        assert turned.grad is not None and turned.grad.item() == pytest.approx(1, rel=1e-3)
