"""Created sets beside real ones: what is kept, what is found, what is refused."""

import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_data import MemoryReader, make_sample

from denoisight.annotations import Depth
from denoisight.errors import DataError, UsageError, WeightsError
from denoisight.evaluate import creation
from denoisight.evaluate import observed as observing
from denoisight.evaluate.creation import compare_features, compare_labels, kid_apart, warnings
from denoisight.evaluate.features import Features, Seen, inception, taps_of, told_apart
from denoisight.evaluate.observed import observe, source_of
from denoisight.evaluate.statistics import statistics_of
from denoisight.metrics.diversity import unit_grid

TRUTHS = ("depth", "normals", "semantic")


def colours(images):
    """Nine means an image, and the image as its only map."""
    rows = torch.cat([F.adaptive_avg_pool2d(image, (1, 3)).flatten()[None] for image in images])
    return Seen(rows, torch.cat([unit_grid([image[None]]) for image in images]))


COLOURS = Features("mean colours", "none", colours)


def reader(first, count, change=lambda sample: sample, name="memory", truths=TRUTHS):
    samples = (change(make_sample(i)).only(truths) for i in range(first, first + count))
    return MemoryReader(tuple(samples), name=name, truths=truths)


def keyed(key):
    return lambda sample: replace(sample, query=replace(sample.query, key=key(sample.key)))


@pytest.fixture(scope="module")
def sets():
    """24 created, 20 real and 30 training images; three of the created ones are training images."""
    learnt = reader(200, 30, name="train")
    copied = tuple(keyed(lambda key: f"copy of {key}")(learnt.samples[i]) for i in (4, 9, 17))
    made = reader(0, 21, name="created")
    return replace(made, samples=(*made.samples, *copied)), reader(100, 20, name="real"), learnt


@pytest.fixture(scope="module")
def observed(sets):
    statistics = statistics_of(*sets[:2])[0]
    return [observe(each, [COLOURS], statistics) for each in sets]


def test_planted_copies_are_the_nearest_pairs(observed):
    found = compare_features(COLOURS, *observed).copies
    assert {(pair.key, pair.nearest) for pair in found.nearest[:3]} == {
        (f"copy of item-{i}", f"item-{i}") for i in (204, 209, 217)
    }
    assert all(pair.ratio < 1e-3 for pair in found.nearest[:3]) and found.nearest[3].ratio > 0.1
    assert 0.7 < found.ratio.value < 1.3 and 3 / 24 <= found.close.value < 0.3
    mine = compare_features(COLOURS, observed[1], *observed[1:]).copies
    assert mine.ratio.value == 1 and mine.close.value == 0.05


def test_a_set_beside_itself_is_at_no_distance(observed):
    real = observed[1]
    found = compare_features(COLOURS, real, real)
    assert found.created["fid"].value == pytest.approx(0, abs=1e-9)
    assert found.created["precision"].value == found.created["recall"].value == found.created["coverage"].value == 1
    assert found.train is None and found.copies is None
    for statistic in statistics_of(reader(0, 3), reader(1, 3))[0]:
        score = compare_labels(statistic, real, real).created
        assert score["js"].value == 0 and score.get("wasserstein", score["js"]).value == 0


def test_numbers_get_worse_with_the_images(observed, sets):
    def darker(by):
        return lambda sample: replace(sample, query=replace(sample.query, image=sample.image * (1 - by)))

    found = []
    for by in (0.0, 0.1, 0.3):
        worse = observe(reader(0, 24, darker(by)), [COLOURS])
        found.append(compare_features(COLOURS, worse, observed[1]).created)
    for name, sign in (("fid", 1), ("kid", 1), ("precision", -1), ("recall", -1), ("density", -1), ("coverage", -1)):
        values = [sign * scores[name].value for scores in found]
        assert values == sorted(values) and values[0] < values[-1], name


def test_labels_get_worse_one_by_one(observed):
    """Depth stretched in octaves, and nothing but depth."""

    def stretched(sample):
        depth = sample.truths["depth"]
        return replace(sample, truths={**sample.truths, "depth": replace(depth, values=depth.values**2)})

    real = observed[1]
    statistics = statistics_of(reader(0, 3), reader(1, 3))[0]
    before, after = (
        {s.name: compare_labels(s, observe(reader(0, 24, change), [COLOURS], statistics), real).created["js"].value
         for s in statistics}
        for change in (lambda sample: sample, stretched)
    )  # fmt: skip
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"depth: over the image's median"} and after[changed.pop()] > 0.1


def test_results_hang_on_neither_order_nor_batch_nor_chance(sets, observed):
    made, real, _ = sets
    statistics = statistics_of(made, real)[0]
    again = observe(replace(made, samples=made.samples[::-1]), [COLOURS], statistics, batch=5)
    assert again.keys == observed[0].keys
    one, other = (compare_features(COLOURS, each, *observed[1:]) for each in (observed[0], again))
    assert one == other
    assert compare_labels(statistics[0], observed[0], observed[1]) == compare_labels(statistics[0], again, observed[1])
    assert compare_features(COLOURS, *observed, seed=1) != one


def test_the_reference_has_as_many_images(observed):
    made, real, learnt = observed
    assert compare_features(COLOURS, made, real, learnt).num_train == 24
    assert compare_features(COLOURS, made, real, made).num_train == 24
    assert torch.equal(learnt.spread(24), learnt.spread(24)) and len(learnt.spread(99)) == 30
    assert set(learnt.spread(5).tolist()) <= set(learnt.spread(6).tolist())


def test_sources_are_named_by_keys_or_captions():
    sample = make_sample(3)
    assert source_of(sample) == "a wall and a floor"
    assert source_of(keyed(lambda key: f"{key}#2#make-it-snow")(sample)) == "item-03"
    assert source_of(replace(sample, query=replace(sample.query, text=""))) == "item-03"


def test_diversity_within_and_across_sources():
    """Two images of each source, the second one a little noisy."""
    samples = []
    for i in range(8):
        for turn in (1, 2):
            one = keyed(lambda key, turn=turn: f"{key}#{turn}")(make_sample(i))
            noise = 0.1 * torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(turn))
            samples.append(replace(one, query=replace(one.query, image=one.image * 0.9 + noise)))
    made = observe(MemoryReader(tuple(samples)), [COLOURS])
    found = compare_features(COLOURS, made, observe(reader(100, 9), [COLOURS])).diversity
    assert found.num_created == 16 and found.num_sources == 8
    assert 0 < found.created_within.value < 0.2 * found.created_across.value
    assert found.created_within.low <= found.created_within.value <= found.created_within.high
    assert found.created_across.low < found.created_across.value < found.created_across.high


def test_diversity_is_measured_on_some_whole_sources(monkeypatch):
    monkeypatch.setattr(observing, "DIVERSITY_IMAGES", 7)
    samples = [keyed(lambda key, t=t: f"{key}#{t}")(make_sample(i)) for t in (1, 2) for i in range(8)]
    one, other = (observe(MemoryReader(tuple(order)), [COLOURS]) for order in (samples, samples[::-1]))
    assert len(one.sources) == 6 and one.sources.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(one.grids["mean colours"], other.grids["mean colours"])


def test_no_image_is_kept():
    """Of 40 images at most two batches are alive at once, and what is kept is small however large they are."""
    alive, most = weakref.WeakSet(), [0]

    class Endless(MemoryReader):
        def __getitem__(self, i):
            sample = make_sample(i, 64, 64).only(TRUTHS)
            alive.add(sample)
            most[0] = max(most[0], len(alive))
            return sample

    lazy = Endless(tuple(make_sample(i) for i in range(40)), truths=TRUTHS)
    seen = observe(lazy, [COLOURS], statistics_of(lazy, lazy)[0], batch=4)
    assert most[0] <= 8
    kept = [*seen.vectors.values(), *seen.grids.values(), *seen.shares.values()]
    assert all(rows.untyped_storage().nbytes() == rows.numel() * rows.element_size() for rows in kept)
    small = observe(reader(0, 40), [COLOURS], statistics_of(lazy, lazy)[0])
    assert [rows.shape for rows in small.grids.values()] == [rows.shape for rows in seen.grids.values()]


def test_images_without_a_label_have_no_say(observed):
    def unlabelled(sample):
        nothing = Depth.of(torch.zeros(12, 16))
        return replace(sample, truths={**sample.truths, "depth": nothing})

    statistics = statistics_of(reader(0, 3), reader(1, 3))[0]
    some = reader(0, 24)
    mixed = replace(some, samples=(*some.samples[:20], *map(unlabelled, some.samples[20:])))
    few, all_of = (observe(each, [COLOURS], statistics) for each in (reader(0, 20), mixed))
    assert compare_labels(statistics[0], all_of, observed[1]).created["js"].value == pytest.approx(
        compare_labels(statistics[0], few, observed[1]).created["js"].value
    )
    none = observe(reader(0, 4, unlabelled), [COLOURS], statistics)
    found = compare_labels(statistics[0], none, observed[1])
    assert found.created["js"].value is None and set(found.shares["created"]) == {0.0}


def test_affine_depth_is_compared_up_to_scale_and_shift():
    def affine(sample):
        return replace(sample, truths={"depth": replace(sample.truths["depth"], gauge="affine")})

    def disparity(sample):
        return replace(sample, truths={"depth": replace(sample.truths["depth"], gauge="affine-disparity")})

    metric = reader(0, 3, truths=("depth",))
    (found,), notes = statistics_of(reader(0, 3, affine, truths=("depth",)), metric)
    assert found.unit == "spreads" and not notes
    none, notes = statistics_of(reader(0, 3, disparity, truths=("depth",)), metric)
    assert none == () and "affine-disparity" in notes[0]
    with pytest.raises(DataError, match="label with metres"):
        statistics_of(reader(0, 3, disparity, truths=("depth",)), metric, ["depth"])


def test_what_cannot_be_compared_is_said_in_a_sentence(observed):
    with pytest.raises(UsageError, match="memory has 1 images, but a set to judge needs two"):
        observe(reader(0, 1), [COLOURS])
    with pytest.raises(UsageError, match="no network"):
        observe(reader(0, 3), [])
    with pytest.raises(UsageError, match="mean colours were given twice"):
        observe(reader(0, 3), [COLOURS, COLOURS])
    with pytest.raises(DataError, match="created images of memory have no truth 'mask' but depth, normals, semantic"):
        statistics_of(reader(0, 3), reader(1, 3), ["mask"])
    other = replace(observed[1], vectors={"mean colours": torch.zeros(20, 7)})
    with pytest.raises(UsageError, match="of 9 and of 7 numbers"):
        compare_features(COLOURS, observed[0], other)


def test_other_classes_are_not_compared():
    def renamed(sample):
        return replace(sample, truths={"semantic": replace(sample.truths["semantic"], classes=("a", "b", "c"))})

    made, real = reader(0, 3, renamed, truths=("semantic",)), reader(0, 3, truths=("semantic",))
    found, notes = statistics_of(made, real)
    assert found == () and "tell a, b, c apart, real ones wall, floor, thing" in notes[0]
    with pytest.raises(DataError, match="same classes"):
        statistics_of(made, real, ["semantic"])


def test_a_reader_is_warned(observed):
    said = " ".join(warnings(*observed))
    assert "n < 2000 (24 created, 20 real)" in said and "sizes differ" not in said
    larger = observe(MemoryReader(tuple(make_sample(i, 24, 16) for i in range(5))), [COLOURS])
    said = " ".join(warnings(larger, observed[1], observed[1]))
    assert "sizes differ: 16x24 (memory) and 16x12 (real)" in said
    assert "need 4 images in each set" in said and "real images are training images" in said
    few = compare_features(COLOURS, larger, observed[1]).created
    assert few["precision"].value is not None and few["density"].value is None


def test_it_is_said_whether_kid_tells_created_from_training_images(observed):
    def darker(sample):
        return replace(sample, query=replace(sample.query, image=sample.image * 0.5))

    real, learnt = observed[1:]
    alike = compare_features(COLOURS, observe(reader(300, 24), [COLOURS]), real, learnt)
    dark = observe(reader(300, 24, darker), [COLOURS])
    apart, nearer = compare_features(COLOURS, dark, real, learnt), compare_features(COLOURS, learnt, real, dark)
    assert alike.created["kid"].low < alike.train["kid"].high < apart.created["kid"].low
    assert "overlap, so these images do not tell created from training images (in mean colours)" in kid_apart(alike)
    assert "lie apart: created images are farther from the real ones" in kid_apart(apart)
    assert "lie apart: created images are nearer to the real ones" in kid_apart(nearer)
    assert f"{apart.created['kid'].value:.3g} [{apart.created['kid'].low:.3g}, " in kid_apart(apart)
    assert kid_apart(compare_features(COLOURS, dark, real)) == ""
    few = observe(reader(0, 3), [COLOURS])
    assert kid_apart(compare_features(COLOURS, few, real, learnt)) == ""


def test_taps_are_the_models_own_at_any_size(tiny_model):
    """Of images of several sizes, in any company; brightness of a map's features counts for nothing."""
    features = taps_of(tiny_model)
    images = [make_sample(i, *size).image for i, size in enumerate([(32, 32), (24, 40), (32, 32), (60, 20)])]
    together = features.see(images)
    for i, image in enumerate(images):
        alone = features.see([image])
        assert torch.allclose(together.vectors[i], alone.vectors[0], atol=1e-4)
        assert torch.allclose(together.grids[i], alone.grids[0], atol=1e-4)
    assert features.name == "taps of tiny (mid, up.0, up.1) at 32 px, scaled, mean over places"
    assert features.weights == tiny_model.weights_hash
    own = taps_of(tiny_model, res=0)
    assert "at full size" in own.name and not torch.allclose(
        own.see(images[3:]).vectors, together.vectors[3:], atol=0.1
    )
    assert together.vectors.shape[1] == sum(tiny_model.parts.taps.channels) and together.grids.shape[1] % 64 == 0


class Pooled(torch.nn.Module):
    """As StyleGAN's Inception is called: 2048 numbers of an image in [0, 255]."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return x.mean(dim=(2, 3)).repeat(1, 683)[:, :2048]


class Plain(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def test_a_users_own_network(tmp_path):
    for module, name in ((Pooled(), "Inception"), (Plain(), "net.pt")):
        torch.jit.script(module).save(str(tmp_path / "net.pt"))
        features = inception(tmp_path / "net.pt")
        assert features.name == name and len(features.weights) == 64
        seen = features.see([torch.ones(3, 8, 8), torch.zeros(3, 5, 9)])
        assert seen.grids is None and seen.vectors[:, 0].tolist() == [255, 0]


def test_what_is_no_network(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(WeightsError, match="weights without their network"):
        inception(tmp_path / "weights.safetensors")
    torch.save(Plain().state_dict() | {"fc.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    for name in ("text.pt", "weights.pth"):
        with pytest.raises(WeightsError, match="torch.jit.save, since weights alone.* lack their network"):
            inception(tmp_path / name)
    with pytest.raises(WeightsError, match="absent.pt"):
        inception(tmp_path / "absent.pt")


def of_sources(first, count, each=4):
    """So many sources, each in `each` images that differ a little."""
    samples = []
    for i in range(first, first + count):
        for turn in range(1, each + 1):
            one = keyed(lambda key, turn=turn: f"{key}#{turn}")(make_sample(i).only(TRUTHS))
            noise = 0.05 * torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(100 * i + turn))
            samples.append(replace(one, query=replace(one.query, image=one.image * 0.95 + noise)))
    return MemoryReader(tuple(samples), name="created", truths=TRUTHS)


def test_images_of_one_source_are_no_witnesses_of_their_own(sets, observed):
    """Four images of each source count as one: intervals hardly narrow, and KID takes no likeness of siblings for a
    distance."""
    _, real, _ = sets
    statistics = statistics_of(real, real)[0]
    alone, four = (observe(of_sources(0, 24, each), [COLOURS], statistics) for each in (1, 4))
    assert four.sources_of_keys.tolist() == [i for i in range(24) for _ in range(4)]
    assert observed[1].sources_of_keys.tolist() == list(range(20))
    one, more = (compare_features(COLOURS, each, *observed[1:]) for each in (alone, four))
    unaware = creation.distances(four.vectors["mean colours"], observed[1].vectors["mean colours"])
    assert abs(more.created["kid"].value - one.created["kid"].value) < 0.2 * (
        unaware["kid"].value - one.created["kid"].value
    )
    for found in (lambda seen: seen.created["precision"], lambda seen: seen.copies.ratio):
        assert found(more).high - found(more).low > 0.6 * (found(one).high - found(one).low)
    wide = [compare_labels(statistics[1], each, observed[1]).created["js"] for each in (alone, four)]
    assert wide[1].value == pytest.approx(wide[0].value) and wide[1].high - wide[1].low > 0.6 * (
        wide[0].high - wide[0].low
    )


def test_all_images_of_one_source_leave_kid_untold(observed):
    made = observe(of_sources(0, 1, 6), [COLOURS])
    assert compare_features(COLOURS, made, *observed[1:]).created["kid"].value is None
    assert "All created images are of one source" in " ".join(warnings(made, observed[1]))


def test_labels_are_held_against_those_of_as_many_training_images():
    """Distances between shares shrink with the number of images."""
    statistics = statistics_of(reader(0, 3), reader(1, 3))[0]
    many = reader(400, 200)
    made, real, learnt = (observe(each, [COLOURS], statistics) for each in (reader(0, 12), reader(100, 200), many))
    few = replace(many, samples=tuple(many.samples[i] for i in learnt.spread(12).tolist()))
    few = observe(few, [COLOURS], statistics)
    for statistic in statistics[:-1]:  # the last is of classes, which are all in every image
        found = compare_labels(statistic, made, real, learnt).train["js"].value
        assert found == compare_labels(statistic, made, real, few).train["js"].value
        assert found > compare_labels(statistic, learnt, real).created["js"].value


def test_the_same_image_in_another_batch_is_a_training_image(observed):
    """In other company the last digits of features differ."""
    made, real, _ = observed
    shaken = {
        name: rows * (1 + 1e-7 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)))
        for name, rows in real.vectors.items()
    }
    found = compare_features(COLOURS, made, real, replace(real, vectors=shaken)).copies
    assert found.ratio.value is None and found.close.value is None
    assert "real images are training images" in " ".join(warnings(made, real, replace(real, vectors=shaken)))


def test_of_one_source_alone_not_all_images_are_compared(monkeypatch):
    monkeypatch.setattr(observing, "DIVERSITY_IMAGES", 7)
    several = of_sources(0, 1, 12)
    one, other = (
        observe(replace(several, samples=order), [COLOURS]) for order in (several.samples, several.samples[::-1])
    )
    assert len(one.sources) == 7 and torch.equal(one.grids["mean colours"], other.grids["mean colours"])


def test_networks_of_one_name_are_told_apart():
    other = replace(COLOURS, weights="another hash")
    assert [one.name for one in told_apart([COLOURS, other])] == [
        "mean colours, weights none",
        "mean colours, weights another ",
    ]
    assert told_apart([COLOURS, replace(COLOURS, name="b")])[0] is COLOURS
    with pytest.raises(UsageError, match="b were given twice"):
        observe(reader(0, 3), [COLOURS, *[replace(COLOURS, name="b")] * 2])
