"""Diversity in a model's own features, against its definition map by map."""

import pytest
import torch
import torch.nn.functional as F

from denoisight.metrics.diversity import across, pair_distances, unit_grid, within


def maps(seed, count=4, side=8):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(count, width, side, side, generator=draw) for width in (3, 5)]


def by_definition(first, second):
    """Of maps [c 8 8]: unit length at every place, squared differences, mean over places, then over maps."""
    parts = [
        ((F.normalize(a, dim=0) - F.normalize(b, dim=0)) ** 2).sum(0).mean() for a, b in zip(first, second, strict=True)
    ]
    return sum(parts) / len(parts)


def test_distances_are_the_definition_pair_by_pair():
    grids = maps(0)
    distances = pair_distances(unit_grid(grids))
    for i in range(4):
        for j in range(4):
            expected = by_definition([g[i] for g in grids], [g[j] for g in grids])
            assert distances[i, j] == pytest.approx(float(expected), abs=1e-6)
    assert distances.diagonal().max() < 1e-6 and distances.max() <= 4


def test_brightness_of_features_counts_for_nothing_and_size_costs_nothing():
    grids = maps(0)
    assert torch.allclose(unit_grid(grids), unit_grid([5 * g for g in grids]), atol=1e-6)
    assert unit_grid(maps(0, side=64)).shape == unit_grid(grids).shape == unit_grid(maps(0, side=2)).shape


def test_within_and_across_sources():
    """Three images of one source, two of another, one alone; across leaves the pairs of one source out."""
    distances = pair_distances(torch.tensor([[0.0], [1], [3], [10], [12], [50]]))
    sources = torch.tensor([4, 4, 4, 1, 1, 0])
    assert within(distances, sources).tolist() == [4.0, pytest.approx((1 + 9 + 4) / 3)]
    others = [distances[i, j] for i in range(6) for j in range(6) if sources[i] != sources[j]]
    assert float(across(distances, sources)) == pytest.approx(float(torch.stack(others).mean()))
    twice = across(distances, sources, torch.tensor([[1.0] * 6, [2, 2, 2, 0, 0, 1]]))
    assert twice[0] == across(distances, sources)[0]
    assert float(twice[1]) == pytest.approx((50**2 + 49**2 + 47**2) / 3)


def test_one_source_alone_has_no_across_and_single_images_no_within():
    distances = pair_distances(torch.rand(3, 2, generator=torch.Generator().manual_seed(0)))
    assert across(distances, torch.zeros(3, dtype=torch.int64)).isnan().all()
    assert within(distances, torch.arange(3)).shape == (0,)
