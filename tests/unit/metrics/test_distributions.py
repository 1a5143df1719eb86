"""Histograms of labels, and their distances, against closed forms and scipy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from denoisight.annotations import Depth, Labels, Normals
from denoisight.metrics import distributions as d

SHARES = st.lists(st.integers(0, 9), min_size=6, max_size=6).filter(any)


def shares(values):
    return torch.tensor(values, dtype=torch.float64) / sum(values)


@given(SHARES, SHARES)
def test_distances_are_scipys(p, q):
    p, q = shares(p), shares(q)
    expected = jensenshannon(p, q, base=2) ** 2
    assert float(d.jensen_shannon(p, q)) == pytest.approx(expected, abs=1e-9)
    edges = torch.tensor([0.0, 1, 2, 3, 4, 5, 6])
    middles = (edges[1:] + edges[:-1]) / 2
    assert d.wasserstein(p, q, edges) == pytest.approx(wasserstein_distance(middles, middles, p, q), abs=1e-9)


def test_alike_is_zero_and_apart_is_one_bit():
    p, q = shares([1.0, 3, 0, 0]), shares([0.0, 0, 2, 2])
    assert d.jensen_shannon(p, p) == 0 and d.jensen_shannon(p, q) == 1
    assert d.presence_divergence(shares([1.0, 1]), shares([1.0, 1])) == 0
    assert float(d.presence_divergence(torch.tensor([1.0, 0]), torch.tensor([0.0, 0]))) == 0.5


@pytest.mark.parametrize("factor", [0.01, 1.0, 40.0])
def test_depth_in_octaves_of_its_median_whatever_the_unit(factor):
    values = factor * torch.tensor([[1.0, 1, 1], [2.05, 4.1, 1e4], [0, 0, 0.26]])
    histogram = d.depth_ratios(Depth.of(values, "scale"))
    assert histogram.sum() == pytest.approx(1) and histogram.shape == (64,)
    # Bins are an eighth of an octave; the wild value is in the last one.
    for octaves, share in ((0, 3), (1, 1), (2, 1), (3.99, 1), (-2, 1)):
        assert histogram[int((octaves + 4) * 8)] == pytest.approx(share / 7)


def test_affine_depth_keeps_neither_scale_nor_shift():
    draw = torch.rand(9, 9, generator=torch.Generator().manual_seed(0))
    one, other = (d.depth_spreads(Depth(v, torch.ones_like(v).bool(), "affine")) for v in (draw, 3 * draw - 7))
    assert float((one - other).abs().sum()) < 0.05


def test_normals_fill_the_sphere_in_equal_areas():
    draw = torch.randn(3, 200, 200, generator=torch.Generator().manual_seed(0))
    cells = d.normal_cells(Normals.of(draw))
    assert cells.shape == (128,) and float((cells * 128 - 1).abs().max()) < 0.25


@pytest.mark.parametrize(("angle", "cell"), [(0.5, 0), (12, 2), (89, 17), (93, 18)])
def test_slants_are_angles_to_the_viewer(angle, cell):
    vector = torch.tensor([math.sin(math.radians(angle)) * 0.6, math.sin(math.radians(angle)) * 0.8, 0.0])
    vector[2] = math.cos(math.radians(angle))
    histogram = d.normal_slants(Normals.of(vector[:, None, None].expand(3, 2, 2)))
    assert histogram[cell] == 1


def test_classes_count_by_pixels_and_by_presence():
    ids = torch.tensor([[0, 0, 0], [2, 255, 255]])
    labels = Labels(ids, ("a", "b", "c"))
    assert d.class_shares(labels).tolist() == [0.75, 0, 0.25]
    assert d.class_presence(labels).tolist() == [1, 0, 1]


def test_images_without_a_valid_pixel_say_nothing():
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    depth = Depth(torch.zeros(4, 4), nothing)
    normals = Normals(torch.zeros(3, 4, 4), nothing)
    labels = Labels(torch.full((4, 4), 255), ("a", "b"))
    for measure, of in (
        (d.depth_ratios, depth),
        (d.depth_spreads, depth),
        (d.normal_cells, normals),
        (d.normal_slants, normals),
        (d.class_shares, labels),
        (d.class_presence, labels),
    ):
        assert measure(of).isnan().all()
