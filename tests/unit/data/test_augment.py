"""Augmentation moves picture and truths together; mixes are the same for everyone."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from denoisight.annotations import Depth, Labels, Mask, Normals, Query, Sample
from denoisight.data.augment import Augment, fit, tint
from denoisight.data.mix import Mix
from denoisight.errors import DataError, UsageError


def some_sample(height: int = 20, width: int = 30) -> Sample:
    """Every truth tells a pixel's place, and so does the picture."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows / height, columns / width, torch.zeros(height, width)])
    truths = {
        "depth": Depth.of(1.0 + columns + 100 * rows),
        "semantic": Labels(columns, tuple(map(str, range(width)))),
        "mask": Mask.of(columns > 3),
        "normals": Normals.of(torch.stack([torch.ones(height, width), 0.0 * rows, torch.ones(height, width)])),
    }
    return Sample(Query(image, "the left box", "k"), truths)


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(8))
def test_picture_and_truths_move_together(seed: int) -> None:
    out = Augment(flip=0.5, crop=0.5, colour=0)(some_sample(), draw(seed))
    rows = (out.image[0] * 20).round().long()
    columns = (out.image[1] * 30).round().long()
    assert torch.equal(out.truths["semantic"].ids, columns)
    assert torch.equal(out.truths["depth"].values, 1.0 + columns + 100 * rows)
    assert torch.equal(out.truths["mask"].inside, columns > 3)


def test_a_flip_mirrors_normals_and_words() -> None:
    sample = some_sample()
    out = Augment(flip=1, crop=1, colour=0)(sample, draw(0))
    assert out.query.text == "the right box" and out.key == sample.key
    assert torch.equal(out.image, sample.image.flip(-1))
    assert torch.allclose(out.truths["normals"].vectors[0], -sample.truths["normals"].vectors[0])
    assert torch.allclose(out.truths["normals"].vectors[2], sample.truths["normals"].vectors[2])


def test_nothing_is_changed_when_nothing_is_asked_for() -> None:
    sample = some_sample()
    assert Augment(flip=0, crop=1, colour=0)(sample, draw(0)) is sample


def test_crops_keep_the_shape_and_at_least_the_share_asked_for() -> None:
    sample = some_sample(200, 300)
    sizes = {Augment(0, 0.5, 0)(sample, draw(seed)).size for seed in range(50)}
    assert len(sizes) > 20
    for height, width in sizes:
        assert 100 <= height <= 200
        assert width / height == pytest.approx(1.5, abs=0.02)


def test_crops_reach_every_edge() -> None:
    sample = some_sample()
    crops = [Augment(0, 0.5, 0)(sample, draw(seed)).truths["semantic"].ids for seed in range(100)]
    assert min(int(ids.min()) for ids in crops) == 0 and max(int(ids.max()) for ids in crops) == 29


def test_colour_leaves_truths_and_range_alone() -> None:
    sample = some_sample()
    out = Augment(0, 1, 0.9)(sample, draw(3))
    assert not torch.equal(out.image, sample.image)
    assert out.image.min() >= 0 and out.image.max() <= 1
    assert all(out.truths[name] is truth for name, truth in sample.truths.items())


def test_tint_knows_its_fixed_points() -> None:
    image = torch.rand(3, 5, 5, generator=draw(0))
    assert torch.allclose(tint(image, 1.0, 1.0, 1.0), image, atol=1e-6)
    assert torch.allclose(tint(image, 0.5, 1.0, 1.0), image / 2, atol=1e-6)
    grey = tint(image, 1.0, 1.0, 0.0)
    assert torch.allclose(grey[0], grey[2], atol=1e-6)
    assert tint(image, 1.0, 0.0, 0.0).std() < 1e-6


def test_the_generator_decides_everything_and_is_used_evenly() -> None:
    augment, sample = Augment(), some_sample()
    assert torch.equal(augment(sample, draw(1)).image, augment(sample, draw(1)).image)
    one, other = draw(1), draw(1)
    augment(sample, one)
    Augment(0, 1, 0)(sample, other)
    assert torch.equal(one.get_state(), other.get_state())


def test_phrases_stay_true() -> None:
    """A window could show another box leftmost, or none: what is spoken of is flipped and never cut."""
    sample = replace(some_sample(), phrases={"mask": "the leftmost box"})
    for seed in range(20):
        out = Augment(flip=0.5, crop=0.3, colour=0.3)(sample, draw(seed))
        flipped = out.phrases["mask"] == "the rightmost box"
        inside = sample.truths["mask"].inside
        assert torch.equal(out.truths["mask"].inside, inside.flip(-1) if flipped else inside)
    assert Augment(flip=0, crop=1, colour=0)(sample, draw(0)) is sample
    square = fit(sample, (10, 10))
    assert torch.equal(square.truths["mask"].inside, sample.truths["mask"].resize(10, 10).inside)
    assert square.phrases == sample.phrases


@pytest.mark.parametrize("phrases", [{"mask": ""}, {"another": "the box"}])
def test_what_nothing_is_said_of_is_cropped(phrases: dict[str, str]) -> None:
    sample = replace(some_sample(), phrases=phrases).only(["mask", "depth"])
    assert {Augment(0, 0.3, 0)(sample, draw(seed)).size for seed in range(5)} != {sample.size}
    assert torch.equal(
        fit(sample, (10, 10)).truths["mask"].inside, sample.crop(0, 5, 20, 20).resize(10, 10).truths["mask"].inside
    )


@pytest.mark.parametrize("bad", [{"flip": 1.5}, {"crop": 0.0}, {"colour": -0.1}])
def test_values_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Augment(**bad)


@pytest.mark.parametrize("size", [(20, 30), (10, 10), (40, 20), (1, 50)])
def test_fit_brings_all_to_one_size_without_stretching(size: tuple[int, int]) -> None:
    sample = fit(some_sample(), size)
    assert sample.size == size
    assert all(truth.size == size for truth in sample.truths.values())


def test_fit_keeps_circles_round_and_the_middle_in_place() -> None:
    rows, columns = torch.meshgrid(torch.arange(60) - 29.5, torch.arange(120) - 59.5, indexing="ij")
    disc = rows**2 + columns**2 < 25**2
    sample = Sample(Query(disc.float().expand(3, -1, -1), key="disc"), {"mask": Mask.of(disc)})
    out = fit(sample, (30, 30))
    for turned in (out.image.flip(-1), out.image.flip(-2), out.image.transpose(-1, -2)):
        assert torch.allclose(out.image, turned, atol=1e-6)
    assert (out.truths["mask"].probability - out.image[0]).abs().mean() < 0.05


@dataclass
class Made:
    """A reader of `num` samples."""

    name: str
    num: int
    truths: tuple[str, ...] = ("depth", "semantic")
    classes: tuple[str, ...] = ("a",)
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(f"{self.name}{i}" for i in range(self.num))

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, i: int) -> Sample:
        truths: dict[str, Any] = {truth: Depth.of(torch.ones(1, 1)) for truth in self.truths}
        return Sample(Query(torch.zeros(3, 1, 1), key=self.keys[i]), truths)


def test_a_mix_follows_its_weights_and_not_the_order() -> None:
    mix = Mix([Made("a", 3), Made("b", 50), Made("c", 5)], [3, 1, 0], length=400, seed=1)
    keys = [mix[i].key for i in range(len(mix))]
    assert 270 <= sum(key.startswith("a") for key in keys) <= 330
    assert not any(key.startswith("c") for key in keys)
    assert {"a0", "a1", "a2"} < set(keys)
    again = Mix([Made("a", 3), Made("b", 50), Made("c", 5)], [3, 1, 0], length=400, seed=1)
    assert [again[i].key for i in reversed(range(400))] == keys[::-1]
    other = Mix([Made("a", 3), Made("b", 50), Made("c", 5)], [3, 1, 0], length=400, seed=2)
    assert [other[i].key for i in range(400)] != keys


def test_a_mix_gives_the_common_truths() -> None:
    mix = Mix([Made("a", 3), Made("b", 2, ("depth",))], [1, 1])
    assert mix.truths == ("depth",) and len(mix) == 5
    assert {tuple(mix[i].truths) for i in range(5)} == {("depth",)}
    with pytest.raises(IndexError):
        mix[5]


def test_readers_that_do_not_mix_are_refused() -> None:
    with pytest.raises(DataError, match="no truth in common"):
        Mix([Made("a", 1, ("depth",)), Made("b", 1, ("semantic",))], [1, 1])
    with pytest.raises(DataError, match="different classes"):
        Mix([Made("a", 1), Made("b", 1, classes=("b",))], [1, 1])
    for weights in ([1], [1, -1], [0, 0]):
        with pytest.raises(UsageError, match="weight"):
            Mix([Made("a", 1), Made("b", 1)], weights)
