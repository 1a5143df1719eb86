from dataclasses import replace

import pytest
import torch

from denoisight.annotations import Depth
from denoisight.errors import ProtocolError
from denoisight.metrics.depth import METRICS, depth_counts, depth_scores

RANGE_M = (0.5, 8.0)


@pytest.fixture
def truth():
    values = 1 + 5 * torch.rand(3, 10, 12, generator=torch.Generator().manual_seed(0))
    values[0, :2] = 0.0
    values[1, 4] = 9.5
    return Depth.of(values)


def score(prediction, truth, alignment="none"):
    return depth_scores(depth_counts(prediction, truth, alignment=alignment, range_m=RANGE_M))


def test_the_truth_is_perfect(truth):
    scores = score(replace(truth, valid=torch.ones_like(truth.valid)), truth)
    assert scores.keys() == METRICS.keys()
    for name, values in scores.items():
        best = 1.0 if METRICS[name].better == "higher" else 0.0
        torch.testing.assert_close(values, torch.full_like(values, best))


def test_only_valid_pixels_strictly_inside_the_range_count(truth):
    values = truth.values.clone()
    values[2, 0, 0], values[2, 0, 1] = RANGE_M
    counts = depth_counts(truth, replace(truth, values=values), alignment="none", range_m=RANGE_M)
    assert counts["pixels"].tolist() == [96, 108, 118]


def test_pixels_that_are_not_judged_are_irrelevant(truth):
    outside = ~truth.valid | (truth.values >= RANGE_M[1])
    prediction = Depth(truth.values * 0.1 + 0.3, torch.ones_like(truth.valid), "affine")
    spoilt = replace(prediction, values=torch.where(outside, 1e4, prediction.values))
    for name, values in score(prediction, truth, "depth").items():
        assert torch.equal(score(spoilt, truth, "depth")[name], values)


def test_delta_is_strict():
    truth = Depth.of(torch.full((1, 2, 2), 4.0))
    exactly = Depth.of(torch.full((1, 2, 2), 5.0))
    assert score(exactly, truth)["delta1"].item() == 0
    assert score(exactly, truth)["delta2"].item() == 1


def test_predictions_are_clipped_to_the_range(truth):
    far, farther = (Depth.of(torch.full_like(truth.values, value)) for value in (8.0, 1e6))
    assert torch.equal(score(far, truth)["abs_rel"], score(farther, truth)["abs_rel"])


def test_nothing_is_at_no_distance():
    """Even a range from zero leaves a logarithm that is finite: the clip to 1e-6."""
    prediction = Depth(torch.zeros(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
    counts = depth_counts(prediction, Depth.of(torch.ones(1, 2, 2)), alignment="none", range_m=(0.0, 8.0))
    assert depth_scores(counts)["log10"].item() == pytest.approx(6)


def test_disparity_that_the_fit_makes_negative_is_far():
    """Not near, as its inverse would say."""
    disparity = torch.tensor([[[1.0, 2.0, 3.0, 4.0, -9.0]]])
    truth = Depth.of(torch.tensor([[[8.0, 4.0, 8 / 3, 2.0, 7.9]]]))
    prediction = Depth(disparity, torch.ones_like(truth.valid), "affine-disparity")
    counts = depth_counts(prediction, truth, alignment="disparity", range_m=(0.5, 10.0))
    assert counts["abs_rel"].item() == pytest.approx(2.1 / 7.9, rel=1e-4)


def test_unanswered_pixels_cost(truth):
    """They are judged as the near end, and do not disturb the fit of the others."""
    seen = torch.ones_like(truth.valid)
    seen[:, 5:8] = False
    prediction = Depth(torch.where(seen, 0.2 * truth.values + 1, 0.0), seen, "affine")
    counts = depth_counts(prediction, truth, alignment="depth", range_m=RANGE_M)
    mask = truth.valid & (truth.values < RANGE_M[1])
    assert torch.equal(counts["unanswered"], (mask & ~seen).sum((1, 2)).double())
    error = torch.where(mask & ~seen, (truth.values - RANGE_M[0]) / truth.values, 0.0).double().sum((1, 2))
    torch.testing.assert_close(counts["abs_rel"], error, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alignment", ["none", "depth", "disparity", "log"])
def test_a_constant_prediction_has_finite_scores(truth, alignment):
    constant = Depth.of(torch.full_like(truth.values, 2.0))
    for values in score(constant, truth, alignment).values():
        assert values.isfinite().all()


def test_an_image_without_truth_has_no_scores_but_a_count(truth):
    blind = replace(truth, valid=truth.valid & (torch.arange(3) != 1)[:, None, None])
    counts = depth_counts(truth, blind, alignment="depth", range_m=RANGE_M)
    assert counts["pixels"][1] == 0
    assert all(value.isfinite().all() for value in counts.values())
    assert depth_scores(counts)["abs_rel"].isnan().tolist() == [False, True, False]


def test_a_truth_that_is_not_metric_judges_nothing(truth):
    with pytest.raises(ProtocolError, match="metres"):
        score(truth, replace(truth, gauge="affine"), "depth")


def test_an_image_in_a_batch_counts_as_it_does_alone(truth):
    prediction = Depth.of(truth.values.sqrt())
    together = depth_counts(prediction, truth, alignment="depth", range_m=RANGE_M)
    alone = depth_counts(prediction[1:2], truth[1:2], alignment="depth", range_m=RANGE_M)
    for name, values in together.items():
        torch.testing.assert_close(alone[name], values[1:2], rtol=1e-12, atol=1e-12)
