"""Which thing is which, and how many were found, by hand."""

import math

import pytest
import torch

from denoisight.annotations import Boxes, Labels
from denoisight.errors import ProtocolError
from denoisight.metrics.tally import Tally
from denoisight.metrics.things import box_iou, boxes_counts, instances_counts, match_ids, things_scores


def labels(*rows):
    return Labels(torch.tensor([rows]), ())


def boxes(*rows, ids=None, scores=None, classes=("a", "b")):
    count = len(rows)
    return Boxes(
        torch.tensor(rows, dtype=torch.float32).reshape(1, -1, 4),
        torch.tensor([ids or [0] * count], dtype=torch.int64),
        torch.tensor([scores or [1.0] * count]),
        torch.ones(1, count, dtype=torch.bool),
        (20, 20),
        classes,
    )


def score(counts):
    tally = Tally(["image"], things_scores)
    tally.add(["image"], counts)
    return tally.scores("pooled")


def test_panoptic_quality_is_matches_times_their_overlap():
    truth = labels([1, 1, 1, 1, 0, 2, 2, 3])
    found = labels([7, 7, 7, 0, 0, 5, 5, 0])
    scores = score(instances_counts(found, truth))
    assert scores["matched_iou"] == pytest.approx((3 / 4 + 1) / 2)
    assert scores["f1"] == pytest.approx(2 / (2 + 0.5))
    assert scores["pq"] == pytest.approx(scores["f1"] * scores["matched_iou"])


def test_half_an_overlap_is_no_match():
    counts = instances_counts(labels([1, 1, 0, 0]), labels([1, 1, 1, 1]))
    assert [counts[name].item() for name in ("hits", "extra", "missed")] == [0, 1, 1]
    assert score(counts)["pq"] == 0


def test_numbers_do_not_matter():
    truth = labels([1, 1, 2, 2, 0])
    assert score(instances_counts(labels([9, 9, 4, 4, 0]), truth))["pq"] == 1


def test_what_the_truth_ignores_costs_nothing():
    truth = labels([1, 1, 255, 255, 255, 0])
    counts = instances_counts(labels([1, 1, 1, 2, 2, 0]), truth)
    assert [counts[name].item() for name in ("hits", "overlap", "extra", "missed")] == [1, 1, 0, 0]
    assert counts["pixels"].item() == 3


def test_what_the_prediction_leaves_open_is_missed():
    counts = instances_counts(labels([1, 255, 255, 0]), labels([1, 1, 1, 0]))
    assert (counts["hits"].item(), counts["unanswered"].item()) == (0, 2)


def test_an_image_without_things_and_predictions_has_no_score():
    assert math.isnan(score(instances_counts(labels([0, 0]), labels([0, 0])))["pq"])
    assert score(instances_counts(labels([1, 0]), labels([0, 0])))["pq"] == 0


def test_boxes_overlap_as_areas_do():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    b = torch.tensor([[1.0, 0, 3, 2], [0, 0, 2, 2]])
    torch.testing.assert_close(box_iou(a, b), torch.tensor([[1 / 3, 1.0], [0, 0]]))


def test_the_surer_box_takes_the_truth():
    truth = boxes([0, 0, 10, 10])
    found = boxes([0, 0, 10, 10], [0, 0, 10, 8], scores=[0.2, 0.9])
    counts = boxes_counts(found, truth)
    assert (counts["hits"].item(), counts["extra"].item()) == (1, 1)
    assert counts["overlap"].item() == pytest.approx(0.8)


def test_boxes_of_another_class_do_not_match():
    counts = boxes_counts(boxes([0, 0, 10, 10], ids=[1]), boxes([0, 0, 10, 10], ids=[0]))
    assert [counts[name].item() for name in ("hits", "extra", "missed")] == [0, 1, 1]
    with pytest.raises(ProtocolError, match="classes"):
        boxes_counts(boxes([0, 0, 1, 1], classes=("c",)), boxes([0, 0, 1, 1]))


def test_classes_count_only_where_they_are_judged():
    counts = boxes_counts(boxes([0, 0, 10, 10], classes=()), boxes([0, 0, 10, 10], ids=[1]), by_class=False)
    assert counts["hits"].item() == 1


def test_padding_is_no_box():
    truth = boxes([0, 0, 10, 10], [10, 10, 20, 20])
    truth.valid[0, 1] = False
    assert score(boxes_counts(boxes([0, 0, 10, 10]), truth))["pq"] == 1
    assert score(boxes_counts(boxes(), truth))["f1"] == 0


def test_matched_ids_take_the_numbers_of_the_truth():
    truth, found = labels([1, 1, 1, 2, 2, 0])[0], labels([5, 5, 6, 7, 7, 8])[0]
    assert match_ids(found, truth).ids.tolist() == [[1, 1, 3, 2, 2, 4]]
