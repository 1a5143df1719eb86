"""Whether intervals hold the value as often as they say."""

import math

import torch

from denoisight.metrics.images import fid, kid
from denoisight.metrics.intervals import bootstrap, jackknife


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    values = draw(0, 400)
    low, high = bootstrap(values)
    half = 1.96 * float(values.std()) / 20
    assert abs((high - low) / 2 - half) < 0.1 * half
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)
    assert all(map(math.isnan, bootstrap(values[:0])))


def test_the_jackknife_of_a_mean_is_as_wide_as_theory_says():
    wide = []
    for seed in range(40):
        values = draw(seed, 200)
        low, high = jackknife(lambda x: float(x.mean()), values, value=float(values.mean()))
        wide.append((high - low) / 2)
    expected = 2.093 / 200**0.5
    assert abs(sum(wide) / 40 - expected) < 0.1 * expected


def spread_and_reach(distance):
    """Of a distance over many pairs of sets: 1.96 standard deviations, and the mean reach of its intervals."""
    values, reaches = [], []
    for seed in range(60):
        first, second = draw(2 * seed, 120, 5), 0.7 + 1.4 * draw(2 * seed + 1, 120, 5)
        values.append(distance(first, second))
        low, high = jackknife(distance, first, second, value=values[-1])
        reaches.append((high - low) / 2)
    return 1.96 * float(torch.tensor(values).std()), sum(reaches) / len(reaches)


def test_intervals_of_distances_are_as_wide_as_distances_scatter():
    for distance in (fid, kid):
        spread, reach = spread_and_reach(distance)
        assert 0.75 * spread < reach < 1.5 * spread


def test_of_three_images_there_is_no_interval():
    few = draw(0, 3, 2)
    assert all(map(math.isnan, jackknife(fid, few, draw(1, 9, 2), value=1.0)))
    assert not any(map(math.isnan, jackknife(fid, draw(0, 4, 2), draw(1, 9, 2), value=1.0)))
