"""Precision, recall, density, coverage and nearest images, against their definitions image by image."""

import pytest
import torch

from denoisight.errors import UsageError
from denoisight.metrics import neighbours
from denoisight.metrics.neighbours import density_coverage, nearest, precision_recall


def cluster(seed, count, centre=0.0, width=4, spread=1.0):
    return centre + spread * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def radius(points, i, k):
    return sorted(float((points[i] - other).norm()) for j, other in enumerate(points) if j != i)[k - 1]


def balls(points, centres, k):
    """[n m]: whether each point lies in each ball."""
    radii = [radius(centres, i, k) for i in range(len(centres))]
    rows = [[float((p - c).norm()) <= r for c, r in zip(centres, radii, strict=True)] for p in points]
    return torch.tensor(rows)


@pytest.mark.parametrize("rows", [1024, 5])
@pytest.mark.parametrize("k", [1, 3])
def test_they_are_the_definitions_image_by_image(k, rows, monkeypatch):
    monkeypatch.setattr(neighbours, "ROWS", rows)
    created, real = cluster(0, 17, 0.4).double(), cluster(1, 13).double()
    precise, recalled = precision_recall(created, real, k)
    assert torch.equal(precise, balls(created, real, k).any(1))
    assert torch.equal(recalled, balls(real, created, k).any(1))
    dense, covered = density_coverage(created, real, k)
    assert torch.allclose(dense, balls(created, real, k).sum(1).double() / k)
    assert torch.equal(covered, balls(created, real, k).any(0))


def means(created, real):
    return [float(v.double().mean()) for v in (*precision_recall(created, real), *density_coverage(created, real))]


def test_sets_of_one_distribution_cover_each_other():
    precision, recall, density, coverage = means(cluster(0, 300), cluster(1, 300))
    assert precision > 0.85 and recall > 0.85 and coverage > 0.9 and density == pytest.approx(1, abs=0.15)


def test_a_lost_cluster_costs_recall_and_coverage_but_no_precision():
    real = torch.cat([cluster(0, 100, -10), cluster(1, 100, 10)])
    precision, recall, _, coverage = means(cluster(2, 200, -10, spread=0.9), real)
    assert precision > 0.85 and recall < 0.5 and coverage < 0.51


def test_an_invented_cluster_costs_precision_and_density():
    created = torch.cat([cluster(2, 100, -10), cluster(3, 100, 50)])
    precision, recall, density, _ = means(created, cluster(0, 200, -10))
    assert precision < 0.51 and density < 0.6 and recall > 0.7


def test_sets_far_apart_share_nothing():
    assert means(cluster(0, 50, -50), cluster(1, 50, 50)) == [0, 0, 0, 0]


def test_planted_copies_are_found():
    training, created = cluster(0, 60), cluster(1, 20)
    created[3], created[11] = training[42], training[7] + 1e-4
    distance, index = nearest(created, training)
    assert index[3] == 42 and index[11] == 7
    assert distance.argsort()[:2].tolist() == [3, 11] and distance[3] < 1e-6
    assert distance.sort().values[2] > 100 * distance[11]


def test_too_few_images():
    with pytest.raises(UsageError, match="Sets of 3 and 9 images came; this needs 4"):
        precision_recall(cluster(0, 3), cluster(1, 9))
    with pytest.raises(UsageError, match="needs 6"):
        density_coverage(cluster(0, 9), cluster(1, 5))
    with pytest.raises(UsageError, match="Neighbour 0"):
        density_coverage(cluster(0, 9), cluster(1, 5), k=0)
    with pytest.raises(UsageError, match="of 4 and of 5 numbers"):
        nearest(cluster(0, 9), cluster(1, 5, width=5))


def test_more_images_of_a_source_do_not_lower_recall():
    """Siblings that lie close would shrink each other's balls to nothing."""
    real, bases = cluster(0, 200, width=6), cluster(1, 50, width=6)
    four = (bases[:, None] + 0.02 * torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(2))).flatten(0, 1)
    alone, aware = precision_recall(bases, real)[1], precision_recall(four, real, 3, torch.arange(200) // 4 + 7)[1]
    assert aware.sum() >= alone.sum() > 0.5 * len(real) > precision_recall(four, real)[1].sum() * 5
    one = torch.arange(200) % 200
    assert torch.equal(precision_recall(four, real, 3, one)[1], precision_recall(four, real)[1])


def test_a_neighbour_is_of_another_source():
    with pytest.raises(UsageError, match="3 sources"):
        precision_recall(cluster(0, 12), cluster(1, 9), 3, torch.arange(12) % 3)
