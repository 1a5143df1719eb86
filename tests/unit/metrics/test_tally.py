import math

import pytest
import torch

from denoisight.errors import ProtocolError
from denoisight.metrics.tally import Tally


def share(counts):
    """A score whose two poolings differ: a quotient of sums."""
    return {"share": counts["hits"] / counts["pixels"]}


def rows(num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(1, 50, (num,), generator=generator).double()
    return {"pixels": pixels, "hits": (pixels * torch.rand(num, generator=generator)).floor()}


def keys(num):
    return [f"{i:03d}" for i in range(num)]


def filled(num=20, order=None, parts=1):
    counts, names = rows(num), keys(num)
    order = order or list(range(num))
    whole = Tally([names[i] for i in order], share)
    for start in range(parts):
        mine = order[start::parts]
        part = Tally([names[i] for i in mine], share)
        part.add([names[i] for i in mine], {name: value[mine] for name, value in counts.items()})
        whole.merge(part)
    return whole


def test_both_poolings():
    counts, tally = rows(20), filled(20)
    assert tally.scores("per-image")["share"] == pytest.approx(share(counts)["share"].mean().item())
    assert tally.scores("pooled")["share"] == pytest.approx((counts["hits"].sum() / counts["pixels"].sum()).item())
    assert tally.scores("per-image") != tally.scores("pooled")


@pytest.mark.parametrize("pooling", ["per-image", "pooled"])
def test_parts_and_order_change_nothing(pooling):
    plain = filled(20)
    shuffled = torch.randperm(20, generator=torch.Generator().manual_seed(1)).tolist()
    for other in (filled(20, order=shuffled), filled(20, parts=3), filled(20, order=shuffled, parts=7)):
        assert other.scores(pooling) == plain.scores(pooling)
        assert other.intervals(pooling) == plain.intervals(pooling)


def test_missing_images_are_known_and_refuse_a_score():
    tally = Tally(keys(4), share)
    tally.add(["002"], {name: value[:1] for name, value in rows(4).items()})
    assert tally.missing == ("000", "001", "003")
    with pytest.raises(ProtocolError, match="3 of 4 images"):
        tally.scores("pooled")


def test_an_empty_list_refuses_a_score():
    with pytest.raises(ProtocolError, match="0 of 0"):
        Tally([], share).scores("pooled")


def test_duplicates_and_strangers_are_refused():
    with pytest.raises(ProtocolError, match="b"):
        Tally(["a", "b", "b"], share)
    tally, one = filled(3), {name: value[:1] for name, value in rows(3).items()}
    with pytest.raises(ProtocolError, match="counted twice"):
        tally.add(["001"], one)
    with pytest.raises(ProtocolError, match="not on the list"):
        tally.add(["stranger"], one)
    with pytest.raises(ProtocolError, match="counted twice"):
        tally.merge(filled(2))


@pytest.mark.parametrize("pooling", ["per-image", "pooled"])
def test_images_without_pixels_take_no_part(pooling):
    plain = filled(5)
    tally = Tally([*keys(5), "blank"], share)
    tally.merge(plain)
    tally.add(["blank"], {name: torch.zeros(1, dtype=torch.float64) for name in ("pixels", "hits")})
    assert tally.scores(pooling) == pytest.approx(plain.scores(pooling))
    assert all(math.isfinite(end) for end in tally.intervals(pooling)["share"])
    assert tally.per_image()["share"].isnan().sum() == 1


def test_intervals_are_seeded_and_contain_the_score():
    tally = filled(20)
    for pooling in ("per-image", "pooled"):
        low, high = tally.intervals(pooling)["share"]
        assert low < tally.scores(pooling)["share"] < high
        assert tally.intervals(pooling)["share"] == (low, high)
        assert tally.intervals(pooling, seed=1)["share"] != (low, high)
        narrow = tally.intervals(pooling, level=0.5)["share"]
        assert low < narrow[0] < narrow[1] < high


def test_intervals_match_resampling_image_by_image():
    """Weights in a matrix product do what drawing lists of images would."""
    counts, tally = rows(8), filled(8)
    draws = torch.randint(8, (1000, 8), generator=torch.Generator().manual_seed(0))
    pooled = torch.stack([counts["hits"][d].sum() / counts["pixels"][d].sum() for d in draws])
    ends = pooled.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    assert tally.intervals("pooled")["share"] == pytest.approx(tuple(ends.tolist()))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(200):
        hits = torch.rand(50, generator=generator, dtype=torch.float64) ** 2
        tally = Tally(keys(50), share)
        tally.add(keys(50), {"hits": hits, "pixels": torch.ones_like(hits)})
        low, high = tally.intervals("per-image", resamples=200)["share"]
        covered += low <= 1 / 3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_scores_of_vectors_of_counts():
    """Counts may have axes of their own, as a confusion matrix does."""

    def score(counts):
        return {"first": counts["pixels"] * 0 + counts["table"][..., 0].sum(-1)}

    tally = Tally(keys(3), score)
    tally.add(keys(3), {"pixels": torch.ones(3), "table": torch.arange(12.0).reshape(3, 2, 2)})
    assert tally.scores("pooled")["first"] == 30
    assert tally.scores("per-image")["first"] == 10


def test_details_come_with_their_part_in_the_order_of_the_keys():
    whole = Tally(keys(3), share)
    for mine in (["002"], ["001", "000"]):
        part = Tally(mine, share)
        for key in mine:
            part.keep(key, f"of {key}")
        whole.merge(part)
    assert whole.details() == ["of 000", "of 001", "of 002"]
