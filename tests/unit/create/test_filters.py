"""Every filter on a case made for it."""

import pytest
import torch

from denoisight.annotations import IGNORE, Boxes, Depth, Labels, Mask, Normals, Query, Sample, box_instances
from denoisight.create.annotate import Label
from denoisight.create.filters import Filters, Verdict, accepted, class_frequencies, distance, is_empty, judge, thumb
from denoisight.data.open import open_data
from denoisight.errors import UsageError

SIZE = (32, 32)
NONE = torch.zeros(SIZE, dtype=torch.int64)
NAMES = {"depth": "depth", "normals": "normals", "semantic": "semantic", "saliency": "saliency", "detection": "boxes",
         "parts": "parts"}  # fmt: skip


def draw(seed=0):
    """A picture of large patches, so that shrinking it leaves something."""
    return (
        torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed))
        .repeat_interleave(8, 1)
        .repeat_interleave(8, 2)
    )


def sure(share):
    """Confidence 0.9 in this share of the rows, 0.1 below."""
    confidence = torch.full(SIZE, 0.1)
    confidence[: round(share * SIZE[0])] = 0.9
    return confidence


def depth(confidence=None):
    return {"depth": Label(Depth.of(torch.ones(SIZE)), confidence)}


def verdict(labels=None, image=None, source=None, others=(), **how):
    image = draw() if image is None else image
    labels = depth() if labels is None else labels
    return judge(image, labels, source, others, Filters(**how), names=NAMES)


def test_a_good_pair_is_kept():
    assert verdict(source=draw(1), others=[draw(2)]).verdict == Verdict("keep")


def test_unsure_pixels_become_invalid_in_every_kind():
    labels = {
        **depth(sure(0.5)),
        "normals": Label(Normals.of(torch.ones(3, *SIZE)), sure(0.5)),
        "semantic": Label(Labels(torch.zeros(SIZE, dtype=torch.int64), ("a",)), sure(0.5)),
        "saliency": Label(Mask.of(torch.ones(SIZE)), sure(0.5)),
    }
    judged = verdict(labels, min_confidence=0.5)
    assert judged.verdict == Verdict("mask", "low confidence in depth, normals, semantic, saliency")
    for task, truth in judged.truths.items():
        assert torch.equal(truth.valid, sure(0.5) > 0.5), task
    assert (judged.truths["semantic"].ids[16:] == IGNORE).all()
    assert not judged.truths["normals"].vectors[:, 16:].any()
    assert judged.valid["depth"] == 0.5 and judged.confidence["depth"] == pytest.approx(0.5)


def test_a_pair_with_too_few_sure_pixels_is_dropped():
    assert verdict(depth(sure(0.25)), min_confidence=0.5).verdict == Verdict("drop", "low confidence in depth")
    assert verdict(depth(sure(0.25)), min_confidence=0.5, min_valid=0.2).verdict.kind == "mask"
    assert verdict(depth(sure(0.25))).verdict.kind == "keep"


def test_disagreement_is_told_from_doubt():
    apart = {**depth(), "normals": Label(Normals.of(torch.ones(3, *SIZE)), sure(0.5), sure(0.5))}
    assert verdict(apart, min_confidence=0.5).verdict == Verdict("mask", "disagreement in normals")
    assert verdict(apart, min_confidence=0.5, min_valid=0.6).verdict == Verdict("drop", "disagreement in normals")
    unsure = {"depth": Label(Depth.of(torch.ones(SIZE)), sure(0.5), torch.ones(SIZE)), "normals": apart["normals"]}
    told = verdict(unsure, min_confidence=0.5).verdict.reason
    assert told == "low confidence in depth; disagreement in normals"


def test_what_cannot_be_doubted_is_not():
    assert verdict(depth(None), min_confidence=0.9).verdict.kind == "keep"


def test_a_near_copy_of_the_source_is_dropped_at_any_size():
    nearly = (draw() + 0.005).clamp(0, 1)
    assert verdict(source=nearly).verdict == Verdict("drop", "near copy of its source")
    assert verdict(source=nearly, min_distance=0.001).verdict.kind == "keep"
    larger = torch.nn.functional.interpolate(draw()[None], scale_factor=2)[0]
    assert verdict(source=larger).verdict == Verdict("drop", "near copy of its source")


def test_and_so_is_one_of_an_image_that_was_kept_before():
    for others in ([draw(3), draw()], [thumb(draw(3)), thumb(draw())]):
        assert verdict(others=others).verdict == Verdict("drop", "near copy of another")
        assert verdict(others=others, min_distance=0).verdict.kind == "keep"


def test_the_distance_is_that_of_colours():
    grey = torch.full((3, 40, 20), 0.25)
    assert distance(torch.zeros(3, 8, 8), grey) == pytest.approx(0.25)
    assert distance(torch.zeros(3, 8, 8), 2 * grey, grey, 3 * grey) == pytest.approx(0.25)


@pytest.mark.parametrize(("level", "reason"), [(0.5, "blank"), (0.0, "blank"), (1.0, "blank")])
def test_blank_images_are_dropped(level, reason):
    assert verdict(image=torch.full((3, *SIZE), level)).verdict == Verdict("drop", reason)


def test_saturated_images_are_dropped():
    burnt = draw()
    burnt[:, :20] = 0.97
    assert verdict(image=burnt).verdict == Verdict("drop", "saturated")
    assert verdict(image=burnt, max_saturated=1.0).verdict.kind == "keep"


def test_a_picture_made_of_a_dark_one_may_be_dark():
    night, other = draw() / 10, draw(1) / 3
    night[:, :20], other[:, :22] = 0.02, 0.03
    assert verdict(image=other, source=night).verdict.kind == "keep"
    assert verdict(image=other, source=draw()).verdict == Verdict("drop", "saturated")


@pytest.mark.parametrize(
    ("task", "empty", "full"),
    [
        ("saliency", Mask.of(torch.zeros(SIZE)), Mask.of(torch.ones(SIZE))),
        ("detection", box_instances(NONE), box_instances(NONE + 1)),
        ("semantic", Labels(NONE, ()), Labels(NONE + 1, ())),
    ],
)
def test_labels_that_mark_nothing_are_dropped(task, empty, full):
    assert is_empty(empty) and not is_empty(full)
    assert verdict({task: Label(empty, None)}).verdict == Verdict("drop", f"nothing in {task}")
    assert verdict({task: Label(empty, None)}, empty=True).verdict.kind == "keep"
    assert verdict({task: Label(full, None)}).verdict.kind == "keep"


def test_parts_mark_nothing_where_all_is_background():
    """Of other labels with classes the first is one as any."""
    first, second = (Label(Labels(NONE + i, ("background", "wheel")), None) for i in (0, 1))
    assert verdict({"parts": first}).verdict == Verdict("drop", "nothing in parts")
    assert verdict({"parts": first}, empty=True).verdict.kind == "keep"
    assert verdict({"parts": second}).verdict.kind == verdict({"semantic": first}).verdict.kind == "keep"


def test_boxes_are_valid_as_a_whole():
    boxes = Boxes(
        torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.ones(1), torch.ones(1, dtype=torch.bool), SIZE
    )
    assert verdict({"detection": Label(boxes, None)}).valid == {"detection": 1.0}


def labelled(*ids):
    picture = torch.tensor(ids).repeat(4, 1)
    return Sample(Query(torch.zeros(3, *picture.shape)), {"semantic": Labels(picture, ("road", "car", "tram"))})


def test_frequent_classes_are_thinned_out_by_the_square_root_of_their_excess():
    frequencies = {"road": 1.0, "car": 0.64, "tram": 0.05}
    for sample, chance in [(labelled(0, 0), 0.4), (labelled(0, 1), 0.5), (labelled(0, 1, 2), 1.0)]:
        passed = [accepted(sample, seed, frequencies, 0.16) for seed in range(500)]
        assert sum(passed) / 500 == pytest.approx(chance, abs=0.07)
        assert passed == [accepted(sample, seed, frequencies, 0.16) for seed in range(500)]
    assert accepted(Sample(Query(torch.zeros(3, 2, 2))), 0, frequencies, 0.1)


def test_frequencies_are_those_of_pictures():
    scenes = open_data("scenes:8", annotated=True)
    frequencies = class_frequencies(scenes, scenes.classes[:2])
    assert set(frequencies) == set(scenes.classes)
    assert frequencies["ground"] == 1.0 and 0 <= frequencies["cone"] < 1


@pytest.mark.parametrize(
    ("classes", "says"),
    [((), "--task semantic"), (("tram", "cone", "lamp"), "labels tram, lamp, but the source knows")],
)
def test_what_cannot_be_balanced_is_refused(classes, says):
    with pytest.raises(UsageError, match=says):
        class_frequencies(open_data("scenes:8"), classes)


@pytest.mark.parametrize("how", [{"min_confidence": 1.5}, {"min_valid": -0.1}, {"balance": float("nan")}])
def test_shares_out_of_range_are_refused(how):
    with pytest.raises(UsageError, match=next(iter(how))):
        Filters(**how)
