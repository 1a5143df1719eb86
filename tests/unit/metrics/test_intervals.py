"""Whether intervals hold the value as often as they say."""

import math

import pytest
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
        low, high = around(lambda one, _: float(one.mean()), values, draw(0, 200), float(values.mean()))
        wide.append((high - low) / 2)
    expected = 2.093 / 200**0.5
    assert abs(sum(wide) / 40 - expected) < 0.1 * expected


def spread_and_reach(distance):
    """Of a distance over many pairs of sets: 1.96 standard deviations, and the mean reach of its intervals."""
    values, reaches = [], []
    for seed in range(60):
        first, second = draw(2 * seed, 120, 5), 0.7 + 1.4 * draw(2 * seed + 1, 120, 5)
        values.append(distance(first, second))
        low, high = around(distance, first, second, values[-1])
        reaches.append((high - low) / 2)
    return 1.96 * float(torch.tensor(values).std()), sum(reaches) / len(reaches)


def around(distance, first, second, value):
    rows = torch.arange(len(first)), torch.arange(len(second))
    return jackknife(lambda some, others: distance(first[some], second[others]), *rows, value=value)


def test_intervals_of_distances_are_as_wide_as_distances_scatter():
    for distance in (fid, kid):
        spread, reach = spread_and_reach(distance)
        assert 0.75 * spread < reach < 1.5 * spread


def test_of_three_images_there_is_no_interval():
    few = draw(0, 3, 2)
    assert all(map(math.isnan, around(fid, few, draw(1, 9, 2), 1.0)))
    assert not any(map(math.isnan, around(fid, draw(0, 4, 2), draw(1, 9, 2), 1.0)))
    of_three = torch.tensor([0, 0, 1, 1, 2, 2])
    assert all(map(math.isnan, jackknife(lambda rows: 1.0, of_three, value=1.0)))


def siblings(seed, sources, each, likeness=0.8):
    """Images whose distribution is that of `draw`, `each` of a source alike; and what they are from."""
    own, shared = draw(seed, sources * each, 5), draw(seed + 1000, sources, 5).repeat_interleave(each, 0)
    return likeness**0.5 * shared + (1 - likeness) ** 0.5 * own, torch.arange(sources).repeat_interleave(each)


def test_images_of_one_source_count_together():
    """Sixteen images of each source tell hardly more of a mean than one of each would."""
    rows, of = siblings(3, 100, 16)
    values, order = rows[:, 0], torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    alone, together = bootstrap(values), bootstrap(values, sources=of)
    wide = {"alone": alone[1] - alone[0], "together": together[1] - together[0]}
    expected = 2 * 1.96 * ((0.8 + 0.2 / 16) / 100) ** 0.5
    assert abs(wide["together"] - expected) < 0.25 * expected and wide["alone"] < 0.4 * expected
    low, high = jackknife(lambda some: float(values[some].mean()), of, value=float(values.mean()))
    assert abs(high - low - expected) < 0.4 * expected
    shuffled = jackknife(lambda some: float(values[order][some].mean()), of[order], value=float(values.mean()))
    assert shuffled == pytest.approx((low, high))


def test_siblings_are_not_taken_for_a_distance():
    found = {"alone": [], "together": []}
    for seed in range(20):
        (rows, of), other = siblings(seed, 50, 4), draw(seed + 50, 200, 5)
        found["alone"].append(kid(rows, other))
        found["together"].append(kid(rows, other, of))
    mean = {name: sum(values) / 20 for name, values in found.items()}
    scatter = float(torch.tensor(found["together"]).std()) / 20**0.5
    assert abs(mean["together"]) < 3 * scatter < mean["alone"]
    assert math.isnan(kid(rows, other, torch.zeros(200, dtype=torch.int64)))
