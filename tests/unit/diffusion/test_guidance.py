import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.diffusion.guidance import classifier_free
from denoisight.diffusion.noise import gaussian
from denoisight.diffusion.prediction import KINDS, denoiser, output_from
from denoisight.diffusion.schedule import scaled_linear

X = gaussian((3, 4, 4), [0, 1]).double()
LEVEL = scaled_linear().at(torch.tensor([300, 800]), torch.float64)
COND, NEGATIVE = torch.tensor([0.5, -1.0]).double(), torch.tensor([2.0, 0.25]).double()


def network(x, level, cond):
    return torch.tanh(x + cond.reshape(-1, 1, 1, 1)) * (1 + level.t / 1000).reshape(-1, 1, 1, 1)


def join(a, b):
    return torch.cat([a, b])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(weight=st.floats(-2, 8))
def test_guiding_the_clean_estimates_is_guiding_the_outputs(kind, weight):
    plain = denoiser(network, kind)
    guided = classifier_free(plain, NEGATIVE, weight, join=join)(X, LEVEL, COND)
    expected = (1 + weight) * network(X, LEVEL, COND) - weight * network(X, LEVEL, NEGATIVE)
    torch.testing.assert_close(output_from(kind, guided, X, LEVEL), expected)


def test_weight_zero_is_the_denoiser_itself():
    plain = denoiser(network, "v")
    assert classifier_free(plain, NEGATIVE, 0.0, join=join) is plain


def test_a_negative_equal_to_the_condition_changes_nothing():
    plain = denoiser(network, "v")
    guided = classifier_free(plain, COND, 3.0, join=join)
    torch.testing.assert_close(guided(X, LEVEL, COND), plain(X, LEVEL, COND))


def test_both_estimates_come_from_one_evaluation():
    batches = []

    def counted(x, level, cond):
        batches.append((len(x), len(level.t), cond.tolist()))
        return network(x, level, cond)

    classifier_free(denoiser(counted, "v"), NEGATIVE, 1.5, join=join)(X, LEVEL, COND)
    assert batches == [(4, 4, [0.5, -1.0, 2.0, 0.25])]
