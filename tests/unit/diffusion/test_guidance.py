import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.diffusion.guidance import classifier_free, share_out, two_way, within
from denoisight.diffusion.noise import gaussian
from denoisight.diffusion.prediction import KINDS, denoiser, output_from
from denoisight.diffusion.samplers import ddim
from denoisight.diffusion.schedule import scaled_linear
from denoisight.errors import UsageError

SCHEDULE = scaled_linear()
X = gaussian((3, 4, 4), [0, 1]).double()
LEVEL = SCHEDULE.at(torch.tensor([300, 800]), torch.float64)
COND, NEGATIVE, OTHER = (torch.tensor(pair).double() for pair in ([0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]))


def network(x, level, cond):
    return torch.tanh(x + cond.reshape(-1, 1, 1, 1)) * (1 + level.t / 1000).reshape(-1, 1, 1, 1)


def join(a, b):
    return torch.cat([a, b])


PLAIN = denoiser(network, "v")


def estimates():
    return [PLAIN(X, LEVEL, cond) for cond in (COND, NEGATIVE, OTHER)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(weight=st.floats(-2, 8), second=st.floats(0, 2))
def test_guiding_the_clean_estimates_is_guiding_the_outputs(kind, weight, second):
    weights = torch.tensor([[weight] * 2, [second] * 2], dtype=torch.float64)
    steered = classifier_free(denoiser(network, kind), [NEGATIVE, OTHER], weights, join=join)
    plain, negative, other = (network(X, LEVEL, cond) for cond in (COND, NEGATIVE, OTHER))
    expected = (1 + weight + second) * plain - weight * negative - second * other
    torch.testing.assert_close(output_from(kind, steered(X, LEVEL, COND), X, LEVEL), expected)


@pytest.mark.parametrize("weights", [0.0, torch.zeros(2, 2)])
def test_weight_zero_is_the_denoiser_itself(weights):
    assert classifier_free(PLAIN, [NEGATIVE, OTHER], weights, join=join) is PLAIN
    assert two_way(PLAIN, [NEGATIVE] * 2, [OTHER] * 2, weights, 0.0, join=join) is PLAIN
    assert classifier_free(PLAIN, [], 1.0, join=join) is PLAIN


@pytest.mark.parametrize("negatives", [[COND], [COND, COND]])
def test_a_negative_equal_to_the_condition_changes_nothing(negatives):
    guided = classifier_free(PLAIN, negatives, 3.0, join=join)
    assert torch.equal(guided(X, LEVEL, COND), PLAIN(X, LEVEL, COND))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_estimates_come_from_one_evaluation(count):
    batches = []

    def counted(x, level, cond):
        batches.append((len(x), len(level.t), cond.tolist()))
        return network(x, level, cond)

    classifier_free(denoiser(counted, "v"), [NEGATIVE, OTHER, NEGATIVE][:count], 1.5, join=join)(X, LEVEL, COND)
    assert batches == [(2 + 2 * count,) * 2 + ([0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 2.0, 0.25][: 2 + 2 * count],)]


def test_items_may_have_different_weights_and_counts():
    """The first item has no negative, the second two of its own weights."""
    clean, negative, other = estimates()
    weights = torch.tensor([[0.0, 0.5], [0.0, 2.0]])
    guided = classifier_free(PLAIN, [NEGATIVE, OTHER], weights, join=join)(X, LEVEL, COND)
    torch.testing.assert_close(guided[0], clean[0])
    torch.testing.assert_close(guided[1], (clean + 0.5 * (clean - negative) + 2 * (clean - other))[1])


def test_mean_and_sum_share_a_weight_out():
    mean, total = (share_out([3.0, 1.0, 2.0], [2, 0, 1], how) for how in ("mean", "sum"))
    assert mean.tolist() == [[1.5, 0.0, 2.0], [1.5, 0.0, 0.0]]
    assert total.tolist() == [[3.0, 0.0, 2.0], [3.0, 0.0, 0.0]]
    assert share_out([1.0, 1.0], [0, 0]).shape == (0, 2)
    with pytest.raises(UsageError, match="Did you mean 'mean'"):
        share_out([1.0], [1], "maen")


def test_away_from_the_mean_of_two_is_away_from_each_by_half():
    clean, negative, other = estimates()
    guided = classifier_free(PLAIN, [NEGATIVE, OTHER], share_out([1.5] * 2, [2, 2]), join=join)(X, LEVEL, COND)
    torch.testing.assert_close(guided, clean + 1.5 * (clean - (negative + other) / 2))


def test_two_ways_are_steered_by_two_weights():
    clean, image, empty = estimates()
    guided = two_way(PLAIN, [NEGATIVE], [OTHER], 6.5, 0.5, join=join)(X, LEVEL, COND)
    torch.testing.assert_close(guided, empty + 1.5 * (image - empty) + 7.5 * (clean - image))
    alone = two_way(PLAIN, [NEGATIVE], [OTHER], 1.0, 0.0, join=join)(X, LEVEL, COND)
    torch.testing.assert_close(alone, classifier_free(PLAIN, [NEGATIVE], 1.0, join=join)(X, LEVEL, COND))


def test_two_ways_take_several_negatives():
    weights = share_out([2.0, 2.0], [2, 2])
    several = two_way(PLAIN, [NEGATIVE, COND], [OTHER, NEGATIVE], weights, weights / 4, join=join)(X, LEVEL, COND)
    clean, negative, other = estimates()
    image, empty = (negative + clean) / 2, (other + negative) / 2
    torch.testing.assert_close(several, clean + 2 * (clean - image) + 0.5 * (image - empty))


# ---- over a range of noise levels ----


def walked(low, high, steps=4):
    """How many rows the network is given at each step."""
    rows = []

    def counted(x, level, cond):
        rows.append(len(x))
        return network(x, level, cond)

    plain = denoiser(counted, "v")
    guided = classifier_free(plain, [NEGATIVE], 1.0, join=join)
    list(ddim(within(guided, plain, low, high, 1000), X, COND, SCHEDULE, steps))
    return rows


@pytest.mark.parametrize(
    ("low", "high", "rows"),
    [
        (0.0, 1.0, [4, 4, 4, 4]),
        (0.5, 1.0, [4, 4, 2, 2]),
        (0.0, 0.5, [2, 2, 4, 4]),
        (0.3, 0.8, [2, 4, 4, 2]),
        (0.0, 0.1, [2, 2, 2, 2]),
    ],
)
def test_outside_the_range_the_plain_denoiser_is_called(low, high, rows):
    """At the timesteps 999, 749, 499 and 249."""
    assert walked(low, high) == rows


def test_the_full_range_reads_no_level():
    guided = classifier_free(PLAIN, [NEGATIVE], 1.0, join=join)
    assert within(guided, PLAIN, 0.0, 1.0, 1000) is guided
    assert within(PLAIN, PLAIN, 0.2, 0.4, 1000) is PLAIN
