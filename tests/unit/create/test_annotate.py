"""Labels of created images: what either route says, alone or together, is what the model says when asked itself."""

import pytest
import torch

from denoisight.annotations import Depth, Query, stack
from denoisight.create.annotate import Annotating, annotate, routes
from denoisight.create.consistency import consistency
from denoisight.errors import UsageError
from denoisight.models.folder import Parts, TaskEntry
from denoisight.predict.ensemble import agree
from denoisight.predict.model import Model
from denoisight.predict.options import Options

QUERIES = [
    Query(torch.rand(3, *size, generator=torch.Generator().manual_seed(i)), "", f"q{i}")
    for i, size in enumerate([(24, 32), (32, 24), (24, 32), (40, 30)])
]
MERGED = ("depth", "normals", "semantic", "saliency")


@pytest.fixture(scope="module")
def denoises_only(make_parts):
    parts = make_parts(reads=())
    return Model(Parts(parts.config, parts.backbone))


def same(a, b):
    assert type(a) is type(b)
    for name, tensor in a.tensors().items():
        torch.testing.assert_close(tensor, b.tensors()[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("route", ["readout", "denoise"])
def test_a_route_says_what_the_model_says(tiny_model, route):
    found = annotate(tiny_model, QUERIES, Annotating(MERGED, route))
    for name in MERGED:
        for query, labels in zip(QUERIES, found, strict=True):
            asked = next(tiny_model.stream([query], name, Options(route=route)))
            same(labels[name].annotation, asked.annotation)
            assert labels[name].annotation.size == query.size
            if asked.uncertainty is None:
                assert labels[name].confidence is None
            else:
                torch.testing.assert_close(labels[name].confidence, 1 - asked.uncertainty, rtol=0, atol=1e-4)


def test_features_are_computed_once_for_all_tasks(tiny_model, monkeypatch):
    passes = []
    taps = type(tiny_model.parts.taps)
    forward = taps.__call__
    monkeypatch.setattr(taps, "__call__", lambda self, x, *rest: passes.append(len(x)) or forward(self, x, *rest))
    annotate(tiny_model, QUERIES, Annotating(MERGED, "readout"))
    assert sum(passes) == len(QUERIES)


def test_mirrored_labels_are_those_of_the_mirror_image_turned_back(tiny_model):
    """Of all tasks with heads, so that a head whose sideways channels are not named would be found."""
    names = tuple(tiny_model.reads)
    how = Annotating(names, "readout", mirror=True)
    queries = QUERIES[:3]  # masks of the last are resized, and of two pixels equally near one is taken
    straight = annotate(tiny_model, queries, how)
    turned = annotate(tiny_model, [query.flip() for query in queries], how)
    assert {"normals", "semantic", "depth"} <= set(names)
    for here, there in zip(straight, turned, strict=True):
        for name in names:
            same(here[name].annotation, there[name].annotation.flip())
    alone = annotate(tiny_model, queries, Annotating(names, "readout"))
    assert not torch.equal(alone[0]["normals"].annotation.vectors, straight[0]["normals"].annotation.vectors)


def test_mirror_images_are_for_features(denoises_only):
    with pytest.raises(UsageError, match="none of depth would be"):
        annotate(denoises_only, QUERIES, Annotating(("depth",), mirror=True))


def test_where_routes_differ_they_are_unsure(tiny_model):
    both, read, denoised = (
        annotate(tiny_model, QUERIES, Annotating(MERGED, r)) for r in ("both", "readout", "denoise")
    )
    for name in MERGED:
        one, other = read[0][name].annotation, denoised[0][name].annotation
        merged = agree(stack([one, other]))
        same(both[0][name].annotation, merged.annotation)
        apart = 1 - merged.uncertainty
        own = read[0][name].confidence
        least = apart if own is None else torch.minimum(apart, own)
        torch.testing.assert_close(both[0][name].confidence, least, rtol=0, atol=1e-4)
        assert both[0][name].confidence.min() < 0.99  # random weights hardly agree
        assert own is None or (least < apart).any()
    assert isinstance(both[0]["depth"].annotation, Depth)


@pytest.mark.parametrize(("loss", "known", "together"), [("silog", "metres", "scale"), ("ssi", "affine", "affine")])
def test_depth_of_which_one_route_knows_more_is_merged(make_parts, loss, known, together):
    """As both know it: in shares of the median, or up to scale and shift."""
    parts = make_parts()
    denoised = parts.config.denoises[0].model_copy(update={"codec": "ratio"})
    model = Model(parts.with_config(denoises=(denoised,), reads=(TaskEntry(name="depth", loss=loss),)))
    ways = ("readout", "denoise", "both")
    read, made, both = (annotate(model, QUERIES[:1], Annotating(("depth",), way))[0]["depth"] for way in ways)
    gauges = tuple(label.annotation.gauge for label in (read, made, both))
    assert gauges == (known, "scale", together) and both.confidence.min() < 1
    if together == "scale":
        mean = (read.annotation.over_median().values + made.annotation.values) / 2
        torch.testing.assert_close(both.annotation.values, mean)


def test_by_both_routes_an_ensemble_is_no_surer_than_its_spread(tiny_model):
    alone, both = (annotate(tiny_model, QUERIES[:1], Annotating(MERGED, r, ensemble=3)) for r in ("denoise", "both"))
    for name in MERGED:
        assert (both[0][name].confidence <= alone[0][name].confidence + 2e-5).all()


def test_an_ensemble_tells_how_sure_it_is_where_it_can_be_merged(denoises_only):
    (labels,) = annotate(denoises_only, QUERIES[:1], Annotating(("depth", "instances"), ensemble=3))
    assert labels["depth"].confidence is not None and labels["depth"].confidence.std() > 0
    assert labels["instances"].confidence is None


def test_without_names_it_is_asked_all_that_need_no_words(tiny_model, denoises_only):
    assert set(routes(tiny_model, Annotating())) == set(tiny_model.tasks) - {"referring"}
    for first in ("readout", "denoise"):
        model = Model(tiny_model.parts.with_config(first=first))
        both = set(model.denoises) & set(model.reads)
        assert {ways for name, ways in routes(model, Annotating()).items() if name in both} == {(first,)}
    assert set(routes(denoises_only, Annotating()).values()) == {("denoise",)}
    assert set(routes(tiny_model, Annotating(route="both"))) >= set(MERGED)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (Annotating(("depth",), "readout"), "cannot predict 'depth' by readout"),
        (Annotating(("depth",), "both"), "cannot predict 'depth' by readout"),
        (Annotating((), "both"), "perceives nothing by both routes"),
        (Annotating(("albedo",)), "cannot predict 'albedo'"),
    ],
)
def test_a_model_that_lacks_a_route_says_so(denoises_only, how, says):
    with pytest.raises(UsageError, match=says):
        annotate(denoises_only, QUERIES, how)


def test_what_cannot_be_merged_says_so(tiny_model):
    with pytest.raises(UsageError, match="instances"):
        annotate(tiny_model, QUERIES, Annotating(("instances",), "both"))


@pytest.mark.parametrize("route", ["readout", "denoise", "both"])
def test_depth_and_normals_are_no_surer_than_they_go_together(tiny_model, route):
    plain, doubted = (annotate(tiny_model, QUERIES, Annotating(MERGED, route, None, 1, c)) for c in (False, True))
    for before, after in zip(plain, doubted, strict=True):
        together = consistency(before["depth"].annotation, before["normals"].annotation)
        assert together.min() < 0.9  # random weights contradict themselves
        for name in MERGED:
            same(before[name].annotation, after[name].annotation)
            known, expected = before[name].confidence, together
            if name not in ("depth", "normals"):
                assert (known is None) == (after[name].confidence is None)
                expected = known
            elif known is not None:
                expected = torch.minimum(known, together)
            if expected is not None:
                assert torch.equal(after[name].confidence, expected)


def test_consistency_is_between_two_tasks(tiny_model):
    with pytest.raises(UsageError, match="normals would not be labelled"):
        annotate(tiny_model, QUERIES, Annotating(("depth", "semantic"), consistency=True))
