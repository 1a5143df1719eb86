"""What goes wrong is told, with what helps; what goes well is not."""

from typing import Any

import pytest
import torch

from denoisight.train.watch import cosines, forgetting, going_astray, pulling_apart, signatures


def rows(*scores: dict[str, float]) -> list[dict[str, Any]]:
    return [{"step": i, "val/badness": 0.0, **row} for i, row in enumerate(scores)]


def said(*scores: dict[str, float]) -> str:
    return " ".join(map(str, signatures(rows(*scores))))


def test_a_run_that_gets_better_has_no_signature() -> None:
    better = {"val/normals/mean": 20.0, "raw/normals/mean": 19.5, "val/semantic/miou": 0.4}
    assert said({"val/normals/mean": 25.0, "val/semantic/miou": 0.3}, better) == ""
    assert said() == said({"val/normals/mean": 25.0}) == ""


def test_labels_that_mislead_are_told() -> None:
    text = said({"val/normals/mean": 20.0}, {"val/normals/mean": 25.0})
    assert "Every task got worse" in text and "normals by 25.0%" in text and "confidence" in text


def test_a_higher_miou_is_better_and_a_higher_angle_is_not() -> None:
    before = {"val/normals/mean": 20.0, "val/semantic/miou": 0.4}
    text = said(before, {"val/normals/mean": 22.0, "val/semantic/miou": 0.5})
    assert "semantic by 25.0% rose" in text and "normals by 10.0% fell" in text and "--weights" in text


def test_remedies_that_a_run_does_not_take_are_not_named() -> None:
    before = {"val/normals/mean": 20.0, "val/semantic/miou": 0.4}
    mixed, worse = ({"val/normals/mean": 22.0, "val/semantic/miou": share} for share in (0.5, 0.3))
    (opposed,), (bad,) = (
        signatures(rows(before, after), {"--weights", "--min-confidence", "--self-teaching.weight"})
        for after in (mixed, worse)
    )
    assert opposed.remedy == "Give what fell a run of its own."
    assert bad.remedy.endswith("not good enough: lower --noise-level, or warm up for longer.")
    looks = [{"kid": [0, 0, 0], "agreement": {"normals": [angle, angle, angle]}} for angle in (20.0, 30.0)]
    (astray,) = going_astray(looks, {"--min-confidence"})
    (forgot,) = forgetting(looks[0]["agreement"], looks[1]["agreement"], {"--self-teaching.weight"})
    assert astray.remedy == "Lower --noise-level, or warm up for longer."
    assert forgot.remedy == "Raise --min-confidence, or warm up for longer."


def test_what_was_nothing_before_is_told_without_shares() -> None:
    fell = {"val/normals/mean": 22.0, "val/instances/pq": 0.02, "raw/instances/pq": 0.03}
    text = said({"val/normals/mean": 20.0, "val/instances/pq": 0.0}, fell)
    assert "instances by 0.02 (0.02 beside 0) rose, normals by 10.0% fell" in text
    none = {"val/instances/pq": 0.0}
    assert "in instances by 0.02 (0.02 beside 0)." in said(none, {**none, "raw/instances/pq": 0.02})
    assert said(none, {"val/instances/pq": 1e-6}) == "", "no change"


def test_a_stage_is_held_against_what_it_began_with() -> None:
    """Which in a second round is the best by then, and not the warm-up."""
    text = said({"val/normals/mean": 20.0}, {"val/normals/mean": 25.0})
    assert "worse than it was where this training began" in text and "warm-up" not in text


@pytest.mark.parametrize(
    ("raw", "words"),
    [(15.0, "stay behind"), (15.0, "a smaller --self-teaching.average-over"), (25.0, "fell behind"), (20.5, "")],
)
def test_weights_that_drift_apart_are_told(raw: float, words: str) -> None:
    start = {"val/normals/mean": 20.2}
    text = said(start, {"val/normals/mean": 20.0, "raw/normals/mean": raw})
    assert (words in text) if words else text == ""


def test_swinging_is_told() -> None:
    start = {"val/normals/mean": 20.0, "raw/normals/mean": 20.0}
    swings = [{"val/normals/mean": 20.0, "raw/normals/mean": raw} for raw in (19.0, 21.0, 19.0, 21.0)]
    assert "swing" in said(start, *swings)
    assert "swing" not in said(start, *swings[:1] * 4)


def test_gradients_that_pull_apart() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    unused = torch.nn.Parameter(torch.zeros(1))
    losses = {"up": weight.sum(), "down": -weight.sum(), "side": weight[0] - weight[1], "none": unused.sum() * 0}
    angles = cosines(losses, [weight])
    assert angles[("up", "down")] == pytest.approx(-1) and angles[("up", "side")] == pytest.approx(0)
    assert angles[("up", "none")] == 0
    told = pulling_apart(angles)
    assert len(told) == 1 and "up and down" in told[0].seen


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({"kid": [0.05, 0.02, 0.08], "agreement": {"normals": [21.0, 20.0, 22.0]}}, []),
        ({"kid": [0.2, 0.15, 0.25], "agreement": {"normals": [21.0, 20.0, 22.0]}}, ["away from real ones"]),
        ({"kid": [0.05, 0.02, 0.08], "agreement": {"normals": [30.0, 28.0, 32.0]}}, ["agrees less"]),
        ({"kid": [0.0, None, None], "agreement": {"normals": [10.0, 9.0, 11.0]}}, []),
    ],
)
def test_pictures_that_go_astray_are_told_where_intervals_are_apart(last: dict, said: list[str]) -> None:
    first = {"kid": [0.06, 0.04, 0.09], "agreement": {"normals": [20.0, 19.0, 21.5]}}
    found = going_astray([first, last])
    assert len(found) == len(said) and all(word in sign.seen for word, sign in zip(said, found, strict=True))
    assert going_astray([first]) == []
    fell = forgetting(first["agreement"], last["agreement"])
    assert len(fell) == sum("judge" in sign.seen for sign in found) and forgetting(first["agreement"], {}) == []
    assert all("after they were learnt from" in sign.seen for sign in fell)
    assert going_astray([first, {**last, "agreement": {}}]) == [sign for sign in found if "judge" not in sign.seen]


@pytest.mark.parametrize(("most", "told"), [(0.4, 1), (0.6, 0), (None, 0)])
def test_pictures_unlike_the_real_ones_are_told_in_a_single_round(most: float | None, told: int) -> None:
    look = {"kid": [0.8, 0.5, 1.1], "precision": [0.3, 0.2, most], "agreement": {}}
    found = going_astray([look])
    assert len(found) == told and all("only 30%" in sign.seen and "--adapt-time" in sign.remedy for sign in found)


def test_a_judge_that_agrees_less_is_one_whose_share_falls() -> None:
    looks = [{"kid": [0, 0, 0], "agreement": {"semantic": [value, value - 0.02, value + 0.02]}} for value in (0.6, 0.5)]
    assert len(going_astray(looks)) == 1 and going_astray(looks[::-1]) == []
