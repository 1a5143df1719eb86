"""Scores of masks, by hand."""

import math

import pytest
import torch

from denoisight.annotations import Mask
from denoisight.metrics.masks import METRICS, SALIENCY_METRICS, masks_counts, masks_scores, saliency_scores
from denoisight.metrics.tally import Tally


def mask(*rows):
    return Mask.of(torch.tensor(rows))


def pooled(pairs, score=masks_scores):
    tally = Tally([f"{i}" for i in range(len(pairs))], score)
    for i, (prediction, truth) in enumerate(pairs):
        tally.add([f"{i}"], masks_counts(prediction, truth))
    return tally.scores("pooled")


LARGE = mask([[1, 1, 1, 1, 1, 1, 1, 1]]), mask([[1, 1, 1, 1, 1, 1, 0, 0]])
SMALL = mask([[1, 0, 0, 0, 0, 0, 0, 0]]), mask([[1, 1, 0, 0, 0, 0, 0, 0]])
MISS = mask([[0, 0, 0, 0, 0, 0, 0, 1]]), mask([[1, 1, 0, 0, 0, 0, 0, 0]])


def test_mean_and_overall_iou_differ_where_sizes_do():
    scores = pooled([LARGE, SMALL, MISS])
    assert set(scores) == set(METRICS)
    assert scores["miou"] == pytest.approx((6 / 8 + 1 / 2 + 0) / 3)
    assert scores["oiou"] == pytest.approx((6 + 1 + 0) / (8 + 2 + 3))


def test_an_iou_that_just_reaches_a_threshold_counts():
    scores = pooled([LARGE, SMALL, MISS])
    assert [scores[f"p@{t}"] for t in (0.5, 0.6, 0.7, 0.8, 0.9)] == pytest.approx([2 / 3, 1 / 3, 1 / 3, 0, 0])


def test_an_empty_union_counts_as_a_miss():
    empty = mask([[0, 0]])
    assert pooled([(empty, empty), (mask([[1, 0]]), mask([[1, 0]]))])["miou"] == 0.5


def test_only_valid_pixels_count_and_a_truth_without_any_is_no_item():
    probability, truth = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    valid = torch.tensor([[[True, False, True]]])
    judged = Mask(probability, torch.ones_like(valid)), Mask(truth, valid)
    nothing = judged[0], Mask(truth, torch.zeros_like(valid))
    assert pooled([judged, nothing])["miou"] == 1
    assert math.isnan(pooled([nothing])["miou"])


def test_what_the_prediction_leaves_open_is_outside():
    truth = mask([[1, 1]])
    half = Mask(truth.probability, torch.tensor([[[True, False]]]))
    counts = masks_counts(half, truth)
    assert (counts["unanswered"].item(), counts["iou"].item()) == (1, 0.5)


def test_the_best_f_measure_takes_one_cut_for_all_images():
    truth = mask([[1, 1, 0, 0]])
    soft = lambda *p: Mask(torch.tensor([[p]]), truth.valid)  # noqa: E731
    # Alone each has a perfect cut, but no cut is perfect for both.
    dark, bright = soft(0.3, 0.3, 0.1, 0.1), soft(0.9, 0.9, 0.7, 0.7)
    alone = [pooled([(p, truth)], saliency_scores)["max_f"] for p in (dark, bright)]
    assert alone == pytest.approx([1, 1])
    precision, recall = 4 / 6, 4 / 4
    expected = 1.3 * precision * recall / (0.3 * precision + recall)
    other = 1.3 * 1 * 0.5 / (0.3 * 1 + 0.5)
    both = pooled([(dark, truth), (bright, truth)], saliency_scores)
    assert set(both) == set(SALIENCY_METRICS)
    assert both["max_f"] == pytest.approx(max(expected, other))
    assert both["mae"] == pytest.approx((0.7 * 2 + 0.1 * 2 + 0.1 * 2 + 0.7 * 2) / 8)
    assert both["miou"] == pytest.approx((0 + 2 / 4) / 2)


def test_a_cut_includes_its_own_value():
    truth = mask([[1, 0]])
    at = Mask(torch.tensor([[[0.05, 0.04]]]), truth.valid)
    assert pooled([(at, truth)], saliency_scores)["max_f"] == pytest.approx(1)


def test_finding_nothing_is_zero_and_judging_nothing_unknown():
    truth = mask([[1, 0]])
    assert pooled([(mask([[0, 0]]), truth)], saliency_scores)["max_f"] == 0
    unknown = Mask(truth.probability, torch.zeros_like(truth.valid))
    assert math.isnan(pooled([(truth, unknown)], saliency_scores)["max_f"])
