from dataclasses import replace

import pytest
import torch

from denoisight.annotations import Normals, Query
from denoisight.errors import ProtocolError
from denoisight.evaluate.baselines import baselines
from denoisight.evaluate.run import count, evaluate

QUERY = Query(torch.zeros(3, 12, 16), key="query")


def answer(predictor, query=QUERY):
    return predictor([query], 0)[0]


@pytest.mark.parametrize("task", ["depth", "metric depth", "disparity", "log depth", "normals", "semantic"])
def test_every_task_has_two_that_its_protocol_can_judge(task, reader, training, protocols):
    found = baselines(protocols[task], training)
    assert len(found) == 2
    for name, predictor in found.items():
        result = evaluate(predictor, protocols[task], reader, name=name)
        assert all(score.value is not None for score in result.headline.values())
        assert result.unanswered == 0


def test_mean_metric_map_is_the_mean_over_valid_pixels(training, protocols):
    maps = [sample.truths["depth"] for sample in training.samples]
    seen = torch.stack([depth.valid for depth in maps])
    values = torch.stack([depth.values for depth in maps])
    expected = torch.where(seen, values, 0.0).sum(0) / seen.sum(0)
    mean = answer(baselines(protocols["metric depth"], training)["mean training map"])
    assert mean.gauge == "metres"
    torch.testing.assert_close(mean.values, expected, rtol=1e-4, atol=1e-4)


def test_mean_normals_are_unit_and_near_the_truth(training, protocols):
    mean = answer(baselines(protocols["normals"], training)["mean training map"])
    torch.testing.assert_close(mean.vectors.norm(dim=0), torch.ones(12, 16))
    assert (mean.vectors[2, :6] > 0.9).all()
    assert (mean.vectors[1, 6:] > 0.9).all()


def test_invalid_normals_lend_nothing_to_the_mean(training, protocols):
    plain = answer(baselines(protocols["normals"], training)["mean training map"])
    for sample in training.samples[:5]:
        normals = sample.truths["normals"]
        sample.truths["normals"] = Normals(-normals.vectors, torch.zeros_like(normals.valid))
    rest = answer(baselines(protocols["normals"], training)["mean training map"])
    torch.testing.assert_close(rest.vectors, plain.vectors, rtol=0, atol=0.3)


@pytest.mark.parametrize("task, far_is_large", [("depth", True), ("log depth", True), ("disparity", False)])
def test_the_ramp_is_far_at_the_top(task, far_is_large, protocols):
    ramp = answer(baselines(protocols[task], None)["vertical ramp"])
    falling = ramp.values.diff(dim=0) < 0
    assert falling.all() if far_is_large else not falling.any()


def test_the_metric_ramp_lies_nearest_to_the_mean(training, protocols):
    found = baselines(protocols["metric depth"], training)
    ramp, mean = answer(found["vertical ramp"]).values, answer(found["mean training map"]).values
    assert (ramp[0, 0] - ramp[-1, 0]).item() == pytest.approx(5, abs=0.3)
    error = (ramp - mean).square().mean()
    for other in (ramp + 0.1, ramp - 0.1, ramp * 1.05, ramp * 0.95):
        assert error < (other - mean).square().mean()


def test_most_frequent_classes(training, protocols):
    found = baselines(protocols["semantic"], training)
    votes = torch.stack([sample.truths["semantic"].ids for sample in training.samples])
    assert torch.equal(answer(found["most frequent class per pixel"]).ids, votes.mode(0).values)
    assert (answer(found["most frequent class"]).ids == votes.flatten().mode().values).all()


def test_pixels_that_nobody_labelled_take_the_overall_class(training, protocols):
    for sample in training.samples:
        sample.truths["semantic"].ids[:2] = 255
    found = answer(baselines(protocols["semantic"], training)["most frequent class per pixel"])
    assert (found.ids[:2] == 1).all()


def test_pixels_that_nobody_measured_take_the_overall_mean(training, protocols):
    for sample in training.samples:
        sample.truths["depth"].valid[:2] = False
    mean = answer(baselines(protocols["metric depth"], training)["mean training map"])
    assert mean.valid.all()
    assert (mean.values[:2] == mean.values[0, 0]).all()
    assert mean.values[2:].min() < mean.values[0, 0] < mean.values[2:].max()


def test_answers_fit_the_picture_and_training_images_may_differ_in_size(training, protocols):
    mixed = replace(training, samples=(training[0], *(s.resize(20, 10) for s in training.samples[1:])))
    for task in ("depth", "normals", "semantic"):
        for predictor in baselines(protocols[task], mixed).values():
            assert answer(predictor, QUERY.resize(30, 20)).size == (30, 20)


def test_a_limit_takes_the_first_images(training, protocols):
    first = replace(training, samples=training.samples[:3])
    limited, short = (
        answer(baselines(protocols["depth"], images, limit)["mean training map"])
        for images, limit in ((training, 3), (first, None))
    )
    assert torch.equal(limited.values, short.values)


def test_things_have_rectangles_for_baselines(reader, protocols):
    for task in ("instances", "detection"):
        found = baselines(protocols[task], None)
        assert list(found) == ["one thing a quadrant", "one thing in the middle"]
        for predictor in found.values():
            tally = count(predictor, protocols[task], reader, range(7))
            assert tally.scores("pooled")["pq"] < 0.5
    quadrants = answer(baselines(protocols["instances"], None)["one thing a quadrant"]).ids
    assert [quadrants[0, 0], quadrants[0, -1], quadrants[-1, 0], quadrants[-1, -1]] == [1, 2, 3, 4]


def test_two_referring_baselines_are_told_the_things_but_not_the_words(reader, training, protocols):
    found = baselines(protocols["referring"], training, images=reader)
    assert list(found) == ["mean training mask", "largest object", "random object"]
    queries = [sample.asked("mask") for sample in reader.samples]
    others = [replace(query, text="something else") for query in queries]
    for name in ("largest object", "random object"):
        for query, mask, again in zip(queries, found[name](queries, 3), found[name](others, 3), strict=True):
            assert torch.equal(mask.inside, again.inside)
            ids = reader[list(reader.keys).index(query.key)].truths["instances"].ids
            thing = ids[mask.inside].unique().tolist()
            assert thing == [1] if name == "largest object" else thing in ([1], [2])
            assert torch.equal(mask.inside, ids == thing[0])
    drawn = {int(mask.inside.sum()) for mask in found["random object"](queries, 0)}
    assert len(drawn) > 2, "chosen anew for every image"
    assert list(baselines(protocols["referring"], None)) == []


def test_the_mean_mask_is_cut_where_it_fits_the_training_masks_best(training, protocols):
    mask = answer(baselines(protocols["referring"], training)["mean training mask"]).inside
    truths = torch.stack([sample.truths["mask"].inside for sample in training.samples])

    def fit(candidate):
        overlap = (candidate & truths).sum((1, 2)) / (candidate | truths).sum((1, 2))
        return overlap.mean()

    mean = truths.float().mean(0)
    assert mask.any()
    assert fit(mask) == max(fit(mean >= cut) for cut in mean.unique() if cut > 0)


def test_the_mean_map_of_saliency_is_soft(training, protocols):
    mean = answer(baselines(protocols["saliency"], training)["mean training map"]).probability
    truths = torch.stack([sample.truths["saliency"].probability for sample in training.samples])
    torch.testing.assert_close(mean, truths.mean(0))


def test_without_training_images_only_what_needs_none(protocols):
    assert list(baselines(protocols["depth"], None)) == ["vertical ramp"]
    assert list(baselines(protocols["normals"], None)) == ["facing above ground"]
    assert baselines(protocols["metric depth"], None) == {}
    assert baselines(protocols["semantic"], None) == {}


def test_unfit_training_images_are_refused(training, protocols):
    bare = replace(training, samples=tuple(replace(s, truths={}) for s in training.samples))
    with pytest.raises(ProtocolError, match="no truth named"):
        baselines(protocols["depth"], bare)
    with pytest.raises(ProtocolError, match="No training images"):
        baselines(protocols["depth"], replace(training, samples=()))
    with pytest.raises(ProtocolError, match="classes"):
        baselines(replace(protocols["semantic"], classes=("a", "b", "c")), training)
