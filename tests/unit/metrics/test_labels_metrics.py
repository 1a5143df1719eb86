import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.annotations import IGNORE, Labels
from denoisight.errors import ProtocolError
from denoisight.metrics.labels import labels_counts, labels_scores

CLASSES = ("sky", "road", "car")


def labels(*rows, classes=CLASSES):
    return Labels(torch.tensor([rows]), classes)


def test_scores_by_hand():
    truth = labels([0, 0, 1, 1], [1, 1, 1, IGNORE])
    prediction = labels([0, 1, 1, 1], [1, 0, 1, 2])
    scores = labels_scores(labels_counts(prediction, truth), CLASSES)
    assert scores["iou/sky"].item() == pytest.approx(1 / 3)
    assert scores["iou/road"].item() == pytest.approx(4 / 6)
    assert scores["iou/car"].isnan(), "it stands in neither truth nor judged prediction"
    assert scores["miou"].item() == pytest.approx((1 / 3 + 4 / 6) / 2)
    assert scores["pixel_accuracy"].item() == pytest.approx(5 / 7)


def test_a_class_only_predicted_has_an_iou_of_zero():
    scores = labels_scores(labels_counts(labels([0, 2]), labels([0, 0])), CLASSES)
    assert scores["iou/car"].item() == 0
    assert scores["miou"].item() == pytest.approx((0.5 + 0) / 2)


def test_no_answer_is_a_miss_and_charged_to_no_other_class():
    counts = labels_counts(labels([0, IGNORE, 1]), labels([0, 0, 1]))
    scores = labels_scores(counts, CLASSES)
    assert counts["unanswered"].item() == 1
    assert scores["iou/sky"].item() == 0.5
    assert scores["iou/road"].item() == 1
    assert scores["pixel_accuracy"].item() == pytest.approx(2 / 3)


def test_an_image_of_ignored_pixels_has_no_scores_but_a_count():
    counts = labels_counts(labels([0, 1]), labels([IGNORE, IGNORE]))
    assert counts["pixels"].item() == 0
    assert all(value.isnan().all() for value in labels_scores(counts, CLASSES).values())


def test_images_of_a_batch_are_counted_apart():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 3, (2, 5, 7, 6), generator=generator)
    prediction, truth = Labels(ids[0], CLASSES), Labels(ids[1], CLASSES)
    together = labels_counts(prediction, truth)["confusion"]
    apart = [labels_counts(prediction[i : i + 1], truth[i : i + 1])["confusion"] for i in range(5)]
    assert torch.equal(together, torch.cat(apart))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.integers(0, 100))
def test_miou_does_not_depend_on_the_order_of_classes(order, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 3, (2, 1, 5, 5), generator=generator)
    names = tuple(CLASSES[order.index(i)] for i in range(3))
    plain = labels_scores(labels_counts(Labels(ids[0], CLASSES), Labels(ids[1], CLASSES)), CLASSES)
    moved = torch.tensor(order)[ids]
    other = labels_scores(labels_counts(Labels(moved[0], names), Labels(moved[1], names)), names)
    assert plain.keys() == other.keys()
    for name in plain:
        torch.testing.assert_close(plain[name], other[name], equal_nan=True)


@pytest.mark.parametrize("classes", [("sky", "road"), ("road", "sky", "car")])
def test_other_classes_are_refused(classes):
    with pytest.raises(ProtocolError, match="classes"):
        labels_counts(labels([0, 1], classes=classes), labels([0, 1]))


@pytest.mark.parametrize("strange", [3, -1, 254])
def test_ids_without_a_class_are_refused(strange):
    with pytest.raises(ProtocolError, match="prediction"):
        labels_counts(labels([0, strange]), labels([0, 1]))
    with pytest.raises(ProtocolError, match="truth"):
        labels_counts(labels([0, 1]), labels([0, strange]))
