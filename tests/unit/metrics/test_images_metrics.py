"""The kernel distance against its definition, pair by pair, and against what is known of normal features."""

from itertools import permutations, product

import pytest
import torch

from denoisight.errors import UsageError
from denoisight.metrics.images import kid, kid_interval


def features(seed, count, width=5, mean=0.0):
    return mean + torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def kernel(x, y):
    return (float(x.double() @ y.double()) / len(x) + 1) ** 3


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("counts", [(2, 2), (7, 4)])
def test_it_is_the_definition_pair_by_pair(counts):
    first, second = features(0, counts[0]), features(1, counts[1], mean=0.7)
    within = sum(mean(kernel(x, y) for x, y in permutations(list(one), 2)) for one in (first, second))
    across = mean(kernel(x, y) for x, y in product(list(first), list(second)))
    assert kid(first, second) == pytest.approx(within - 2 * across, rel=1e-9)
    assert kid(first, second) == pytest.approx(kid(second, first), rel=1e-12)


def test_it_is_what_is_known_in_one_dimension():
    """Of normal features with means a and b and unit variance the squared MMD is a sum of squared differences of
    the first three moments, with the weights 3, 3 and 1 of (x y + 1)^3."""
    a, b = 0.2, -0.5
    moments = [(m, m**2 + 1, m**3 + 3 * m) for m in (a, b)]
    exact = sum(weight * (p - q) ** 2 for weight, p, q in zip((3, 3, 1), *moments, strict=True))
    assert kid(features(0, 4000, 1, a), features(1, 4000, 1, b)) == pytest.approx(exact, rel=0.15)


def test_it_is_unbiased():
    """The mean over many small pairs of sets of one distribution is zero; with the diagonals it would not be."""
    distances = torch.tensor([kid(features(2 * i, 6), features(2 * i + 1, 6)) for i in range(3000)])
    error = distances.std() / len(distances) ** 0.5
    assert distances.mean().abs() < 3 * error
    assert error < 0.05 and (distances < 0).any()


def test_the_interval_holds_the_distance_and_tells_sets_apart():
    here, again, there = features(0, 300), features(1, 300), features(2, 300, mean=0.5)
    low, high = kid_interval(here, again, size=100)
    assert low < 0 < high
    far = kid_interval(here, there, size=100)
    assert far[0] > high and far[0] < kid(here, there) < far[1]
    assert kid_interval(here, there, size=100) == far
    assert kid_interval(here, there, size=100, seed=1) != far
    wider = kid_interval(here, there, size=30)
    assert wider[1] - wider[0] > far[1] - far[0]


def test_one_image_is_no_set():
    with pytest.raises(UsageError, match="1 and 9"):
        kid(features(0, 1), features(1, 9))


@pytest.mark.parametrize("size", [1, 11])
def test_subsets_must_fit(size):
    with pytest.raises(UsageError, match=f"Subsets of {size}"):
        kid_interval(features(0, 10), features(1, 20), size=size)
