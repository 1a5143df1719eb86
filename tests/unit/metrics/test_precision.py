"""Average precision on cases whose value is known, and what is handed to the library."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from denoisight.annotations import Boxes, Labels
from denoisight.errors import MissingExtraError
from denoisight.metrics.precision import average_precision, box_things, instance_things

SIZE = (20, 30)


def boxes(rows, scores, ids=None):
    count = len(rows)
    return Boxes(
        torch.tensor(rows, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(ids or [0] * count, dtype=torch.int64),
        torch.tensor(scores),
        torch.ones(count, dtype=torch.bool),
        SIZE,
        ("a", "b"),
    )


def drawn(*rectangles):
    ids = torch.zeros(SIZE, dtype=torch.int64)
    for number, (left, top, right, bottom) in enumerate(rectangles, 1):
        ids[top:bottom, left:right] = number
    return Labels(ids, ())


ONE, TWO = [0, 0, 10, 10], [12, 0, 22, 10]


def test_the_truth_is_perfect_for_boxes_and_masks():
    pytest.importorskip("faster_coco_eval")
    truth = boxes([ONE, TWO], [1.0, 1.0])
    assert average_precision([box_things(truth, truth)]) == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0}
    masks = drawn(ONE, TWO)
    assert average_precision([instance_things(masks, masks)]) == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0}


def test_overlap_decides_at_how_many_thresholds_a_box_is_right():
    pytest.importorskip("faster_coco_eval")
    # An IoU of 0.82 is right at 0.5 to 0.8, seven of the ten thresholds; one of 0.72 at five.
    for side, expected in ((8.2, {"ap": 0.7, "ap50": 1.0, "ap75": 1.0}), (7.2, {"ap": 0.5, "ap50": 1.0, "ap75": 0.0})):
        scores = average_precision([box_things(boxes([[0, 0, 10, side]], [1.0]), boxes([ONE], [1.0]))])
        assert scores == pytest.approx(expected)


def test_predictions_of_all_images_are_ranked_together():
    pytest.importorskip("faster_coco_eval")
    truth = boxes([ONE], [1.0])
    right, wrong = boxes([ONE], [0.5]), boxes([TWO], [0.9])
    # Ranked: wrong, right. Precision 1/2 up to a recall of 1/2 (51 of 101 recalls).
    scores = average_precision([box_things(right, truth), box_things(wrong, truth)])
    assert scores["ap50"] == pytest.approx(0.5 * 51 / 101)
    surer = boxes([ONE], [0.95])
    assert average_precision([box_things(surer, truth), box_things(wrong, truth)])["ap50"] == pytest.approx(51 / 101)


def test_classes_are_averaged():
    pytest.importorskip("faster_coco_eval")
    truth = boxes([ONE, TWO], [1.0, 1.0], ids=[0, 1])
    assert average_precision([box_things(boxes([ONE], [1.0]), truth)])["ap"] == pytest.approx(0.5)


def test_without_classes_all_are_one():
    pytest.importorskip("faster_coco_eval")
    found, truth = boxes([ONE], [1.0], ids=[1]), boxes([ONE], [1.0])
    assert average_precision([box_things(found, truth, by_class=False)])["ap"] == 1
    assert average_precision([box_things(found, truth)])["ap"] == 0


def test_larger_masks_are_taken_to_be_surer():
    pytest.importorskip("faster_coco_eval")
    truth = drawn(ONE)
    large_and_wrong = drawn(ONE, [12, 0, 30, 20])
    assert average_precision([instance_things(large_and_wrong, truth)])["ap50"] == pytest.approx(0.5)


def test_scores_rank_masks_where_there_are_some():
    pytest.importorskip("faster_coco_eval")
    truth, found = drawn(ONE), drawn(ONE, [12, 0, 30, 20])
    for scores, expected in (((0.9, 0.2), 1.0), ((0.2, 0.9), 0.5)):
        things = instance_things(replace(found, scores=torch.tensor([*scores, 0.0])), truth)
        assert [region.score for region in things.found] == pytest.approx(scores)
        assert average_precision([things])["ap50"] == pytest.approx(expected)


def test_ignored_pixels_belong_to_neither_side():
    pytest.importorskip("faster_coco_eval")
    truth = drawn(ONE)
    truth.ids[:, 10:] = 255
    assert average_precision([instance_things(drawn([0, 0, 20, 10]), truth)])["ap"] == 1


def test_nothing_found_is_zero_and_nothing_true_is_unknown():
    pytest.importorskip("faster_coco_eval")
    assert average_precision([instance_things(drawn(), drawn(ONE))])["ap"] == 0
    assert math.isnan(average_precision([instance_things(drawn(ONE), drawn())])["ap"])


def test_run_lengths_go_down_the_columns():
    masks = Labels(torch.tensor([[1, 0, 2], [1, 0, 2]]), ())
    first, second = instance_things(masks, masks).true
    assert (first.runs, second.runs) == ((0, 2, 4), (4, 2))
    assert second.score == pytest.approx(1 / 3)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"denoisight\[eval\]"):
        average_precision([instance_things(drawn(ONE), drawn(ONE))])
