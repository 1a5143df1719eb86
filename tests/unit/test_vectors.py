"""Lengths and directions, against torch's own, and at a vector of zeros."""

import pytest
import torch
import torch.nn.functional as F

from denoisight.vectors import lengths, unit


@pytest.mark.parametrize("size", [(3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
def test_as_torch_says(size: tuple[int, ...]) -> None:
    vectors = torch.randn(size, dtype=torch.float64)
    torch.testing.assert_close(lengths(vectors), vectors.norm(dim=-3), rtol=1e-14, atol=0)
    torch.testing.assert_close(unit(vectors), F.normalize(vectors, dim=-3), rtol=1e-14, atol=1e-15)


def test_short_vectors_are_not_stretched_to_length_1() -> None:
    vectors = torch.tensor([3e-4, 4e-4, 0.0])[:, None, None]
    torch.testing.assert_close(lengths(unit(vectors, shortest=1e-3)), torch.tensor([[0.5]]))


@pytest.mark.parametrize("of", [lengths, unit])
def test_a_vector_of_zeros_has_a_slope(of: object) -> None:
    vectors = torch.zeros(3, 1, 1, requires_grad=True)
    value = of(vectors).sum()  # type: ignore[operator]
    assert value.item() < 1e-6
    (slope,) = torch.autograd.grad(value, vectors)
    assert bool(torch.isfinite(slope).all())


def test_what_is_no_number_stays_so() -> None:
    assert bool(lengths(torch.full((3, 1, 1), torch.nan)).isnan().all())
