import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.annotations import Normals
from denoisight.metrics.normals import BIN_DEG, METRICS, angle_deg, normals_counts, normals_scores


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def turned(degrees, height=6, width=5):
    """Normals that lie `degrees` off those that face the viewer."""
    angle = math.radians(degrees)
    vector = torch.tensor([math.sin(angle), 0.0, math.cos(angle)], dtype=torch.float64)
    return Normals.of(vector[None, :, None, None].expand(1, 3, height, width))


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 1e-3, 30.0, 90.0, 179.999, 180.0])
def test_angles_are_exact_where_arc_cosines_are_not(degrees):
    angle = angle_deg(turned(degrees).vectors, turned(0).vectors)
    torch.testing.assert_close(angle, torch.full_like(angle, degrees), rtol=1e-7, atol=1e-9)


def test_lengths_do_not_matter_and_no_direction_is_at_right_angles():
    a, b = random(1, 3, 4, 4).double(), random(1, 3, 4, 4, seed=1).double()
    torch.testing.assert_close(angle_deg(5 * a, 0.1 * b), angle_deg(a, b))
    assert (angle_deg(torch.zeros_like(a), b) == 90).all()


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 179.9))
def test_scores_of_one_angle_are_that_angle(degrees):
    scores = normals_scores(normals_counts(turned(degrees), turned(0)))
    assert scores.keys() == METRICS.keys()
    for name in ("mean", "median", "rmse"):
        assert scores[name].item() == pytest.approx(degrees, abs=BIN_DEG if name == "median" else 1e-5)


@pytest.mark.parametrize("degrees, shares", [(4.99, (100, 100)), (5.01, (0, 100)), (7.51, (0, 0))])
def test_shares_below_thresholds(degrees, shares):
    scores = normals_scores(normals_counts(turned(degrees), turned(0)))
    assert (scores["within_5"].item(), scores["within_7.5"].item()) == shares


def test_unanswered_and_zero_vectors_are_a_right_angle_off():
    truth = turned(0)
    nothing = Normals.of(torch.zeros(1, 3, 6, 5))
    counts = normals_counts(nothing, truth)
    assert normals_scores(counts)["mean"].item() == 90
    assert counts["unanswered"].item() == 30


def test_invalid_truth_is_irrelevant():
    truth = Normals.of(random(2, 3, 8, 8))
    valid = random(2, 8, 8, seed=1) > 0
    truth = Normals(truth.vectors, valid)
    prediction = Normals.of(random(2, 3, 8, 8, seed=2))
    spoilt = Normals(torch.where(valid[:, None], prediction.vectors, -prediction.vectors), prediction.valid)
    one, other = normals_counts(prediction, truth), normals_counts(spoilt, truth)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(one["pixels"], valid.sum((1, 2)).double())


def test_an_image_without_truth_has_no_scores_but_a_count():
    truth = turned(0)
    counts = normals_counts(truth, Normals(truth.vectors, torch.zeros_like(truth.valid)))
    assert counts["pixels"].item() == 0
    assert all(value.isnan().all() for value in normals_scores(counts).values())


def test_the_histogram_is_of_one_size_whatever_the_picture():
    small, large = normals_counts(turned(9), turned(0)), normals_counts(turned(9, 60, 50), turned(0, 60, 50))
    assert small["histogram"].shape == large["histogram"].shape
    assert large["histogram"].sum() == 3000
