"""What is made of a source: how far it is noised, under which words, and what is written down of it."""

import pytest
import torch

from denoisight.annotations import Query, Sample
from denoisight.create.annotate import Annotating
from denoisight.create.captions import Caption, Words
from denoisight.create.filters import Filters
from denoisight.create.pairs import Maker, check_captions
from denoisight.create.synthesize import synthesize
from denoisight.create.variation import Variation
from denoisight.data.open import open_data
from denoisight.diffusion.samplers import invert
from denoisight.errors import DataError, UsageError
from denoisight.models.backbone import Backbone
from denoisight.models.folder import TaskEntry
from denoisight.predict.model import Model

SOURCE = Words(("a red box on a plain floor", "two blue spheres on a plain ground", "a cone"), (32, 32))


def picture(i, size):
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(i))


class Source:
    name, truths, classes, notes = "pictures", (), (), ()
    keys = ("a", "b/c", "d")
    sizes = ((32, 32), (24, 32), (32, 32))

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return Sample(Query(picture(i, self.sizes[i]), SOURCE.captions[i], self.keys[i]))


LOOSE = Filters(min_distance=0)


@pytest.fixture(scope="module")
def creates(make_parts):
    return Model(make_parts(creates=True))


def maker(model, source=None, tasks=("depth", "semantic"), filters=LOOSE, captions="text", **variation):
    variation = Variation(**{"per_image": 2, "steps": 2, **variation})
    return Maker(model, source or Source(), variation, Annotating(tasks), filters, captions)


def spy(monkeypatch, name, home="denoisight.create.pairs"):
    calls, real = [], synthesize
    monkeypatch.setattr(f"{home}.{name}", lambda *given, **named: calls.append((given, named)) or real(*given, **named))
    return calls


def test_pairs_come_in_order_at_their_own_size_with_their_provenance(creates):
    made = list(maker(creates, guidance=1.5, avoid=("a cone",), seed=3).make(range(3)))
    assert [pair.sample.key for pair in made] == ["a#1", "a#2", "b/c#1", "b/c#2", "d#1", "d#2"]
    assert [pair.number for pair in made] == list(range(6))
    assert [pair.sample.size for pair in made] == [(32, 32)] * 2 + [(24, 32)] * 2 + [(32, 32)] * 2
    for pair in made:
        assert set(pair.sample.truths) == {"depth", "semantic"}
        assert all(truth.size == pair.sample.size for truth in pair.sample.truths.values())
        # As it is stored.
        torch.testing.assert_close(pair.sample.image * 255, (pair.sample.image * 255).round(), rtol=0, atol=1e-4)
    facts = made[2].facts
    assert facts["source"] == "b/c" and facts["text"] == SOURCE.captions[1] and facts["noise_level"] == 0.6
    assert (facts["guidance"], facts["avoid"], facts["steps"]) == (1.5, "a cone", 2)
    assert facts["weights"] == creates.weights_hash[:16] and facts["versions"]["torch"] == torch.__version__
    assert facts["verdict"] == "keep" and set(facts["valid"]) == {"depth", "semantic"}
    assert len({pair.facts["seed"] for pair in made}) == 6


def test_a_part_of_the_sources_gives_the_same_pairs(creates):
    whole = {pair.sample.key: pair.sample.image for pair in maker(creates, batch=1).make(range(3))}
    part = {pair.sample.key: pair.sample.image for pair in maker(creates, batch=1).make([1])}
    assert set(part) == {"b/c#1", "b/c#2"}
    assert all(torch.equal(image, whole[key]) for key, image in part.items())


def test_levels_are_drawn_by_the_seed_and_shared_by_batches(creates, monkeypatch):
    calls = spy(monkeypatch, "synthesize")
    how = {"per_image": 8, "noise_level": (0.42, 0.61)}
    made = list(maker(creates, **how).make([0, 2]))
    levels = [pair.facts["noise_level"] for pair in made]
    assert set(levels) == {0.45, 0.5, 0.55, 0.6}
    assert len(calls) == 4 and sum(len(given[1]) for given, _ in calls) == 16
    assert [pair.facts["noise_level"] for pair in maker(creates, **how).make([2])] == levels[8:]
    assert [pair.facts["noise_level"] for pair in maker(creates, seed=1, **how).make([0, 2])] != levels


def test_negatives_belong_to_the_image(creates, monkeypatch):
    said = {
        "a": Caption("a red box", ("a sphere", "a cone")),
        "b/c": Caption("a dome", ("a box",)),
        "d": Caption("a cone"),
    }
    calls = spy(monkeypatch, "synthesize")
    made = list(maker(creates, captions=lambda sample: said[sample.key], per_image=1).make(range(3)))
    assert [pair.facts["guidance"] for pair in made] == [1, 1, 0]
    by_words = dict(zip(calls[0][0][1], zip(calls[0][1]["avoid"], calls[0][1]["guidance"], strict=True), strict=True))
    assert by_words == {"a red box": (("a sphere", "a cone"), 1.0), "a cone": ((), 0.0)}


def test_several_negatives_share_the_weight(creates):
    """Of two negatives that are one, the mean is that one."""
    backbone, images = creates.parts.backbone, torch.stack([picture(0, (32, 32)), picture(1, (32, 32))])
    given = {"steps": 2, "images": images, "noise_level": 0.5}
    words, seeds = ["a red box", "a cone"], [1, 2]
    one = synthesize(backbone, words, seeds, guidance=1.0, avoid=[["a dome"], []], **given)
    twice = synthesize(backbone, words, seeds, guidance=1.0, avoid=[["a dome", "a dome"], []], **given)
    torch.testing.assert_close(one, twice, rtol=0, atol=1e-5)
    mixed = synthesize(backbone, words, seeds, guidance=[1.0, 0.0], avoid=[["a dome"], []], **given)
    torch.testing.assert_close(mixed[0], one[0], rtol=0, atol=1e-5)
    plain = synthesize(backbone, words, seeds, **given)
    torch.testing.assert_close(mixed[1], plain[1], rtol=0, atol=1e-5)
    assert (mixed[0] - plain[0]).abs().max() > 1e-3


@pytest.mark.parametrize("noise", ["multires", "inversion"])
def test_strategies_start_exactly_at_the_level(creates, monkeypatch, noise):
    seen, forward = [], Backbone.forward
    monkeypatch.setattr(
        Backbone, "forward", lambda self, x, level, cond: seen.append((x, level)) or forward(self, x, level, cond)
    )
    backbone, images = creates.parts.backbone, picture(0, (32, 32))[None]
    made = synthesize(backbone, ["a cone"], [1], steps=3, images=images, noise_level=0.5, noise=noise)
    walked = seen[3:] if noise == "inversion" else seen
    assert [level.t.item() for _, level in walked] == [500, 333, 166]
    clean = backbone.latents.encode(images * 2 - 1)
    if noise == "inversion":
        assert [level.t.item() for _, level in seen[:3]] == [166, 333, 500]
        cond = backbone.condition(None, ["a cone"])
        start = invert(backbone.denoise, clean, cond, backbone.schedule, 3, start=0.5)
        again = synthesize(backbone, ["a cone"], [2], steps=3, images=images, noise_level=0.5, noise=noise)
        assert torch.equal(made, again)  # no seed
    else:
        level = backbone.schedule.at(torch.tensor(500))
        noise = (walked[0][0] - level.alpha * clean) / level.sigma
        assert noise.std().item() == pytest.approx(1, abs=0.25)
        start = walked[0][0]
    torch.testing.assert_close(walked[0][0], start, rtol=0, atol=1e-5)


def test_fresh_noise_is_drawn_as_it_is_told(creates):
    plain, fresh = (next(maker(creates, steps=3, eta=eta).make([0])) for eta in (0.0, 0.5))
    assert fresh.facts["eta"] == 0.5 and not torch.equal(plain.sample.image, fresh.sample.image)
    # What inversion alone leads back to, noise leads away from.
    first, second = maker(creates, noise="inversion", steps=3, eta=1.0).make([0])
    assert not torch.equal(first.sample.image, second.sample.image)


@pytest.mark.parametrize(
    ("how", "sampler"),
    [
        ({}, "dpmpp-2m"),
        ({"noise": "multires"}, "dpmpp-2m"),
        ({"eta": 0.5}, "ddim"),
        ({"noise": "inversion", "per_image": 1}, "ddim"),
        ({"sampler": "euler"}, "euler"),
    ],
)
def test_the_usual_sampler_is_one_that_can_do_what_is_asked(creates, how, sampler):
    making = maker(creates, **how)
    assert making.variation.sampler == sampler
    assert next(iter(making.make([0]))).facts["sampler"] == sampler


def test_captions_alone_are_a_source(creates):
    made = list(maker(creates, SOURCE, noise_level=(1.0, 1.0)).make(range(3)))
    assert len(made) == 6 and all(pair.sample.size == (32, 32) for pair in made)
    with pytest.raises(UsageError, match="Only images can be noised in part"):
        maker(creates, SOURCE)


def test_typed_captions_say_what_to_avoid(creates):
    words = Words(("a red box, not a sphere, not a cone", "a dome"), (32, 32))
    made = list(maker(creates, words, noise_level=(1.0, 1.0), avoid=("a box",), per_image=1).make(range(2)))
    assert [pair.facts["text"] for pair in made] == ["a red box", "a dome"]
    assert [pair.facts["avoid"] for pair in made] == ["a sphere; a cone", "a box"]


@pytest.mark.parametrize("key", ["a", "d"])
def test_what_has_no_caption_is_dropped(creates, key):
    some = maker(creates, captions=lambda sample: None if sample.key == key else "a cone")
    made = [pair for pair in some.make(range(3)) if pair.facts["source"] == key]
    assert [pair.verdict.reason for pair in made] == ["no caption"] * 2
    check_captions(some)


def test_captions_that_none_of_the_first_has_are_refused(creates):
    with pytest.raises(DataError, match="'a' has no caption by 'labels'"):
        check_captions(maker(creates, captions="labels"))


def test_an_empty_prompt_is_meant(creates):
    making = maker(creates, Words(("",), (32, 32)), noise_level=(1.0, 1.0), per_image=1)
    check_captions(making)
    (made,) = making.make([0])
    assert made.verdict.kind == "keep" and made.facts["text"] == ""


def test_the_keys_of_a_source_are_taken_once(creates):
    class Counted(Source):
        asked = 0

        @property
        def keys(self):
            self.asked += 1
            return Source.keys

    source = Counted()
    making = maker(creates, source)
    begun = source.asked
    assert [making.keys(i)[0] for i in range(3)] == ["a#1", "b/c#1", "d#1"] and source.asked == begun


def test_without_words_pictures_are_those_of_the_empty_prompt(creates):
    wordless = list(maker(creates, captions="none").make([0]))
    empty = list(maker(creates, captions=lambda sample: "").make([0]))
    said = list(maker(creates, captions=lambda sample: "a cone").make([0]))
    assert [pair.verdict.kind for pair in wordless] == ["keep"] * 2 and wordless[0].facts["text"] == ""
    assert torch.equal(wordless[0].sample.image, empty[0].sample.image)
    assert not torch.equal(wordless[0].sample.image, said[0].sample.image)


def test_images_alike_are_dropped(creates):
    """With a wide threshold the second image of a source is too near the first."""
    made = list(maker(creates, filters=Filters(min_distance=1.0)).make([0]))
    assert [pair.verdict.reason for pair in made] == ["near copy of its source"] * 2


def test_images_alike_are_dropped_whatever_they_are_made_of(creates, monkeypatch):
    alike = picture(0, (32, 32)).expand(16, 3, 32, 32)
    monkeypatch.setattr("denoisight.create.pairs.synthesize", lambda backbone, prompts, *_, **__: alike[: len(prompts)])
    making = maker(creates, SOURCE, filters=Filters(empty=True), noise_level=(1.0, 1.0))
    verdicts = [pair.verdict for pair in making.make(range(3))]
    assert [verdict.kind for verdict in verdicts] == ["keep"] + ["drop"] * 5
    assert {verdict.reason for verdict in verdicts[1:]} == {"near copy of another"}
    # Another shard knows nothing of it, whoever makes it.
    assert next(making.make([1])).verdict.kind == "keep"


def test_settings_tell_all_that_the_bytes_hang_on(creates):
    base = maker(creates).settings
    assert base["threads"] == torch.get_num_threads() and base["dtype"] == "float32"
    for other in (
        maker(creates, batch=3), maker(creates, seed=1), maker(creates, captions="labels"),
        maker(creates, filters=Filters()), maker(creates, tasks=("depth",)), maker(creates, noise="multires"),
        maker(creates, eta=0.5), maker(Model(creates.parts.with_config(steps=9))),
    ):  # fmt: skip
        assert other.settings != base
    assert maker(Model(creates.parts.with_config(provenance={"step": 1}))).settings["config"] == base["config"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"noise_level": (0.0, 0.5)}, "noise level is 0 to 0.5"),
        ({"noise_level": (0.5, 1.2)}, "noise level is 0.5 to 1.2"),
        ({"noise_level": (0.7, 0.5)}, "noise level is 0.7 to 0.5"),
        ({"noise_level": (0.61, 0.64)}, "no multiple"),
        ({"noise_level": (0.05, 1.0), "steps": 60}, "60 steps were asked for over 51 noise levels"),
        ({"per_image": 0}, "per_image"),
        ({"noise": "pink"}, "Unknown noise 'pink'"),
        ({"noise": "inversion"}, "would be alike"),
        ({"guidance": float("nan")}, "guidance"),
        ({"eta": float("nan")}, "eta is nan"),
        ({"eta": 0.5, "sampler": "euler"}, "not of 'euler'"),
        ({"tasks": ("referring",)}, "words of its own"),
        ({"tasks": ("albedo",)}, "albedo"),
    ],
)
def test_a_wrong_order_says_what_to_do(creates, how, says):
    with pytest.raises(UsageError, match=says):
        maker(creates, **how)


def test_confidence_without_doubt_is_refused(make_parts):
    parts = make_parts(creates=True, reads=())
    with pytest.raises(UsageError, match="Nothing tells how sure"):
        maker(Model(parts), filters=Filters(min_confidence=0.5))


def test_classes_are_balanced_by_the_created_labels(make_parts):
    def making(classes, *tasks):
        reads = tuple(TaskEntry(name=name, classes=classes if name == "semantic" else ()) for name in tasks)
        model = Model(make_parts(creates=True, denoises=(), reads=reads))
        return Maker(model, open_data("scenes:2"), Variation(1, steps=1), filters=Filters(balance=0.1))

    ours = open_data("scenes:2").classes[:4]
    assert making(ours, "depth", "semantic").frequencies["ground"] == 1
    with pytest.raises(UsageError, match="no semantic labels"):
        making(ours, "depth")
    with pytest.raises(UsageError, match="learnt the source's classes"):
        making((*ours[:3], "ball"), "depth", "semantic")


def test_labels_that_cannot_be_doubted_are_named(creates, caplog):
    """Heads of masks and classes tell how sure they are, those of depth, boxes and things do not."""

    def making(*tasks, **how):
        return Maker(creates, Source(), Variation(1, steps=1), Annotating(tasks, **how), Filters(min_confidence=0.5))

    with pytest.raises(UsageError, match="how sure labels of depth and instances are"):
        making("depth", "instances", route="readout")
    assert not caplog.text
    making("depth", "semantic", "instances", route="readout")
    assert "labels of depth and instances" in caplog.text
    caplog.clear()
    making("depth", "semantic", route="both")
    making("depth", "normals", consistency=True)
    making("depth", "normals", route="denoise", ensemble=2)
    assert not caplog.text


def test_what_contradicts_itself_can_be_doubted(make_parts):
    """By one route, once, only depth and normals beside each other tell of a doubt."""
    model = Model(make_parts(creates=True, reads=()))
    annotating = Annotating(("depth", "normals", "saliency"), consistency=True)
    filters = Filters(min_confidence=0.8, min_valid=0, min_distance=0, empty=True)
    making = Maker(model, Source(), Variation(1, steps=1), annotating, filters)
    (made,) = making.make([0])
    assert making.settings["annotating"]["consistency"] and made.facts["consistency"]
    assert made.facts["confidence"]["depth"] == made.facts["confidence"]["normals"] < 1
    assert made.facts["confidence"]["saliency"] is None and made.facts["valid"]["saliency"] == 1
    assert made.facts["valid"]["depth"] < 1 and made.verdict == ("mask", "disagreement in depth, normals")


def test_a_model_that_never_learnt_to_create_says_so(tiny_model):
    with pytest.raises(UsageError, match="never learnt to create"):
        maker(tiny_model)


def test_long_captions_of_pictures_are_cut_and_typed_ones_refused(creates, caplog):
    long = " ".join(["a red box on a plain floor"] * 30)
    made = list(maker(creates, captions=lambda sample: long, per_image=1).make([0]))
    assert made[0].facts["text"] == long and "and are cut" in caplog.text
    with pytest.raises(UsageError, match="more words than the model takes"):
        list(maker(creates, Words((long,), (32, 32)), noise_level=(1.0, 1.0)).make([0]))
