"""What a picture is worth: closed forms, and intervals that hold the truth as often as they say."""

import math

import numpy as np
import pytest

from denoisight.errors import UsageError
from denoisight.evaluate.usefulness import gains, usefulness, worth


def test_gains_are_paired_per_picture_and_in_the_metrics_direction():
    found = gains({0: 20.0, 1: 21.0, 7: 3.0}, {1: 23.0, 0: 24.0, 5: 1.0}, num_pictures=400, better=-1)
    assert found == {0: pytest.approx(0.01), 1: pytest.approx(0.005)}
    assert gains({0: 0.5}, {0: 0.6}, 10) == {0: pytest.approx(-0.01)}
    with pytest.raises(UsageError, match="0 pictures"):
        gains({0: 1.0}, {0: 1.0}, 0)


def test_an_interval_is_students_over_seeds():
    value, low, high = usefulness({0: 1.0, 1: 2.0, 2: 3.0})
    assert value == 2 and (low, high) == (pytest.approx(2 - 4.3026527 / 3**0.5), pytest.approx(2 + 4.3026527 / 3**0.5))
    assert usefulness({4: 2.0}).value == 2 and math.isnan(usefulness({4: 2.0}).low)
    assert all(map(math.isnan, usefulness({})))


def test_worth_is_a_ratio_of_means():
    real = {0: 0.9, 1: 1.0, 2: 1.1}
    assert worth({seed: gain / 4 for seed, gain in real.items()}, real) == pytest.approx((0.25, 0.25, 0.25))
    found = worth({0: 0.5, 1: 0.6, 2: 0.4, 9: 100.0}, real)
    assert found.value == pytest.approx(0.5) and found.low < 0.5 < found.high
    exact = worth({0: 0.5, 1: 0.6, 2: 0.4}, dict.fromkeys(range(3), 2.0))
    assert exact == pytest.approx(tuple(end / 2 for end in usefulness({0: 0.5, 1: 0.6, 2: 0.4})))


@pytest.mark.parametrize("real", [{0: 1.0}, {0: 1.0, 1: -1.0, 2: 0.1}, {0: -1.0, 1: -1.1, 2: -0.9}, {5: 1.0, 6: 1.0}])
def test_what_does_not_surely_help_measures_nothing(real):
    assert all(map(math.isnan, worth({0: 1.0, 1: 1.1, 2: 0.9}, real)))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 1000 studies of three seeds in which a created picture is worth 0.4 real ones, and both share their luck."""
    draw, held, ratios = np.random.default_rng(0), 0, []
    for _ in range(1000):
        luck, own = draw.normal(0, 0.05, 3), draw.normal(0, 0.05, (2, 3))
        created, real = (dict(enumerate(mean + luck + noise)) for mean, noise in zip((0.4, 1.0), own, strict=True))
        _, low, high = usefulness(created)
        held += low < 0.4 < high
        ratios.append(worth(created, real))
    assert 930 <= held <= 970
    known = [one for one in ratios if not math.isnan(one.value)]
    assert len(known) > 980 and 0.93 <= np.mean([low < 0.4 < high for _, low, high in known]) <= 0.97
