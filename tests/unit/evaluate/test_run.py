import sys
from dataclasses import dataclass, replace

import pytest
import torch

from denoisight.annotations import Depth, Mask, Query
from denoisight.errors import DenoisightError, MissingExtraError, ProtocolError
from denoisight.evaluate.run import Candidate, count, evaluate, evaluate_all, summarize
from denoisight.runtime import generator

TASKS = ["depth", "metric depth", "normals", "semantic", "referring", "saliency", "instances", "detection"]
RANKED = ["instances", "detection"]


def noisy(queries, seed):
    """Affine depth drawn from the item's own seed, as a diffusion model would."""
    maps = [torch.rand(6, 8, generator=generator(seed, query.key)) for query in queries]
    return [Depth(values, torch.ones_like(values, dtype=torch.bool), "affine") for values in maps]


def values(result):
    return {pooling: {name: s.value for name, s in scores.items()} for pooling, scores in result.scores.items()}


@pytest.mark.parametrize("task", TASKS)
def test_the_truth_is_perfect(task, reader, protocols, oracle):
    if task in RANKED:
        pytest.importorskip("faster_coco_eval")
    protocol = protocols[task]
    result = evaluate(oracle(protocol.truth), protocol, reader)
    best = {"higher": 1.0, "lower": 0.0}
    for scores in result.scores.values():
        for name, score in scores.items():
            metric = result.metrics[name]
            expected = best[metric.better] * (100 if metric.unit == "percent" else 1)
            assert score.value == pytest.approx(expected, abs=0.05 if name == "median" else 1e-4)
            assert name in ("ap", "ap50", "ap75") or score.low <= score.value <= score.high
    assert result.headline is result.scores[protocol.pooling]
    assert (result.num_images, result.num_empty, result.unanswered, result.partial) == (7, 0, 0.0, False)


def test_batches_parts_and_the_order_of_images_change_nothing(reader, protocols):
    protocol = protocols["depth"]
    plain = evaluate(noisy, protocol, reader, batch=8)
    assert values(evaluate(noisy, protocol, reader, batch=1)) == values(plain)
    backwards = replace(reader, samples=reader.samples[::-1])
    assert values(evaluate(noisy, protocol, backwards, batch=3)) == values(plain)
    whole = count(noisy, protocol, reader, range(0))
    whole = type(whole)(reader.keys, whole.score)
    for part in ([0, 2, 4, 6], [1, 3, 5]):
        whole.merge(count(noisy, protocol, reader, part, batch=2))
    assert values(summarize(whole, protocol)) == values(plain)
    assert values(evaluate(noisy, protocol, reader, seed=1)) != values(plain)


def test_predictors_see_queries_alone(reader, protocols):
    seen = []

    def spy(queries, seed):
        seen.extend(queries)
        return noisy(queries, seed)

    evaluate(spy, protocols["depth"], reader)
    assert [type(query) for query in seen] == [Query] * 7


def test_a_referring_model_is_asked_in_the_words_of_its_truth(reader, protocols):
    asked = {}

    def spy(queries, seed):
        asked.update({query.key: query.text for query in queries})
        return [Mask.of(torch.zeros(query.size)) for query in queries]

    evaluate(spy, protocols["referring"], reader)
    assert asked == {f"item-{i:02d}": f"thing {i}" for i in range(7)}
    evaluate(spy, protocols["saliency"], reader)
    assert set(asked.values()) == {"a wall and a floor"}


@pytest.mark.parametrize("task", RANKED)
def test_ranked_scores_have_no_interval_and_only_pooled(task, reader, protocols, oracle):
    pytest.importorskip("faster_coco_eval")
    result = evaluate(oracle(protocols[task].truth), protocols[task], reader)
    for name in ("ap", "ap50", "ap75"):
        assert (result.headline[name].value, result.headline[name].low) == (1.0, None)
        assert name in result.metrics and name not in result.scores["per-image"] and name not in result.per_image
    assert set(result.per_image) == {"pq", "f1", "matched_iou"}


def test_boxes_without_classes_are_judged_without(reader, protocols, oracle):
    pytest.importorskip("faster_coco_eval")
    without = replace(protocols["detection"], classes=())
    nameless = lambda q, seed: [replace(b, classes=()) for b in oracle("boxes")(q, seed)]  # noqa: E731
    assert evaluate(nameless, without, reader).headline["ap"].value == 1
    with pytest.raises(ProtocolError, match="truth's classes"):
        evaluate(nameless, protocols["detection"], reader)


def test_a_lacking_package_is_told_before_anything_is_predicted(reader, protocols, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)

    def never(queries, seed):
        raise AssertionError

    with pytest.raises(MissingExtraError, match=r"denoisight\[eval\]"):
        evaluate(never, protocols["instances"], reader)
    assert count(lambda q, s: [reader[0].truths["instances"]] * len(q), protocols["instances"], reader, [0])


def test_several_are_judged_in_one_walk(reader, protocols, oracle):
    read = []

    @dataclass(frozen=True)
    class Counting(type(reader)):
        def __getitem__(self, i):
            read.append(i)
            return self.samples[i]

    protocol = protocols["semantic"]
    both = {"truth": Candidate(oracle("semantic"), settings={"steps": 3}), "other": Candidate(oracle("semantic"))}
    results = evaluate_all(both, protocol, Counting(reader.samples))
    assert sorted(read) == list(range(7))
    assert [(r.predictor, r.settings["steps"]) for r in results] == [("truth", 3), ("other", None)]
    alone = evaluate(oracle("semantic"), protocol, reader)
    assert values(results[1]) == values(alone)


def test_partial_runs_are_refused_unless_named(reader, protocols):
    protocol = protocols["depth"]
    with pytest.raises(ProtocolError, match="whole list"):
        evaluate(noisy, protocol, reader, limit=3)
    result = evaluate(noisy, protocol, reader, limit=3, partial=True)
    assert result.partial
    assert result.num_images == 3
    assert result.list_hash != protocol.list_hash
    assert not evaluate(noisy, protocol, reader, partial=True).partial, "nothing is missing"


def test_another_list_of_the_same_length_is_refused(training, reader, protocols):
    other = replace(training, samples=training.samples[:7])
    with pytest.raises(ProtocolError, match="item-100"):
        evaluate(noisy, protocols["depth"], other)
    assert evaluate(noisy, protocols["depth"], other, partial=True).partial


def test_images_without_truth_are_counted_and_left_out(reader, protocols):
    truths = dict(reader[0].truths)
    truths["depth"] = replace(truths["depth"], valid=torch.zeros(12, 16, dtype=torch.bool))
    blind = replace(reader, samples=(replace(reader[0], truths=truths), *reader.samples[1:]))
    result = evaluate(noisy, protocols["depth"], blind)
    assert result.num_empty == 1
    rest = evaluate(noisy, protocols["depth"], replace(reader, samples=reader.samples[1:]), partial=True)
    for pooling, scores in values(rest).items():
        assert values(result)[pooling] == pytest.approx(scores)


def test_unanswered_pixels_are_said(reader, protocols, oracle):
    def half(queries, seed):
        known = oracle("depth")(queries, seed)
        return [replace(d, valid=d.valid & (torch.arange(12) < 6)[:, None]) for d in known]

    result = evaluate(half, protocols["metric depth"], reader)
    assert result.unanswered == pytest.approx(0.5, abs=0.05)
    assert result.headline["delta1"].value < 0.6


def test_predictions_are_brought_to_the_truths_size_and_both_are_cropped(reader, protocols, oracle):
    protocol = protocols["metric depth"]

    def larger(queries, seed):
        return [truth.resize(24, 32) for truth in oracle("depth")(queries, seed)]

    assert evaluate(larger, protocol, reader).headline["delta1"].value > 0.8

    def wrong_outside(queries, seed):
        known = oracle("depth")(queries, seed)
        inside = torch.zeros(12, 16, dtype=torch.bool)
        inside[2:10, 3:13] = True
        return [replace(d, values=torch.where(inside, d.values, 10.0)) for d in known]

    cropped = replace(protocol, crop=(2, 3, 8, 10))
    assert evaluate(wrong_outside, protocol, reader).headline["delta1"].value < 0.9
    assert evaluate(wrong_outside, cropped, reader).headline["delta1"].value == 1


def test_what_cannot_be_compared_is_refused(reader, protocols, oracle):
    with pytest.raises(ProtocolError, match="'affine'"):
        evaluate(noisy, protocols["metric depth"], reader)
    with pytest.raises(ProtocolError, match="judges Normals"):
        evaluate(noisy, protocols["normals"], reader)
    with pytest.raises(ProtocolError, match="no Depth named 'depth'"):
        empty = replace(reader, samples=tuple(replace(s, truths={}) for s in reader.samples))
        evaluate(noisy, protocols["depth"], empty)
    with pytest.raises(ProtocolError, match="classes"):
        evaluate(oracle("semantic"), replace(protocols["semantic"], classes=("a", "b", "c")), reader)
    with pytest.raises(ProtocolError, match=r"\(64, 64\)"):
        evaluate(noisy, replace(protocols["depth"], size=(64, 64)), reader)
    with pytest.raises(ProtocolError, match="give one a query"):
        evaluate(lambda queries, seed: noisy(queries, seed)[:1], protocols["depth"], reader)


def test_nan_stops_the_run_and_says_where(reader, protocols):
    def broken(queries, seed):
        return [
            replace(depth, values=depth.values / (query.key != "item-04"))
            for query, depth in zip(queries, noisy(queries, seed), strict=True)
        ]

    with pytest.raises(DenoisightError, match="item-04"):
        evaluate(broken, protocols["depth"], reader)


def test_progress_walks_the_batches(reader, protocols):
    lengths = []

    def progress(batches):
        for batch in batches:
            lengths.append(len(batch))
            yield batch

    evaluate(noisy, protocols["depth"], reader, batch=3, progress=progress)
    assert lengths == [3, 3, 1]
