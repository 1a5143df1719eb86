import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.annotations import Depth
from denoisight.errors import ProtocolError
from denoisight.metrics.align import COMPARABLE, align, fit_affine
from denoisight.metrics.depth import depth_counts, depth_scores

RANGE_M = (1e-3, 10.0)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(values):
    return torch.ones_like(values, dtype=torch.bool)


def score(values, gauge, truth, alignment):
    prediction = Depth(values, everywhere(values), gauge)
    return depth_scores(depth_counts(prediction, truth, alignment=alignment, range_m=RANGE_M))


def test_fit_is_least_squares():
    given, wanted, mask = (
        random(4, 7, 9).double(),
        random(4, 7, 9, seed=1).double(),
        random(4, 7, 9, seed=2) > 0.3,
    )
    scale, shift = fit_affine(given, wanted, mask)
    for i in range(4):
        x, y = given[i][mask[i]].numpy(), wanted[i][mask[i]].numpy()
        expected = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), y, rcond=None)[0]
        assert (scale[i].item(), shift[i].item()) == pytest.approx(tuple(expected), rel=1e-9)


def test_fit_keeps_its_digits_far_from_zero():
    """Plain normal equations lose half of the digits here."""
    given = 1000 + 1e-3 * random(1, 20, 20).double()
    scale, shift = fit_affine(given, 3 * given - 7, everywhere(given))
    assert (scale.item(), shift.item()) == pytest.approx((3, -7), rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3e4])
def test_a_constant_prediction_becomes_the_mean(constant):
    given, wanted = torch.full((1, 8, 8), constant), random(1, 8, 8)
    mask = random(1, 8, 8, seed=1) > 0.5
    scale, shift = fit_affine(given.double(), wanted.double(), mask)
    assert scale.item() == 0
    assert shift.item() == pytest.approx(wanted[mask].mean().item())


def test_an_empty_mask_gives_no_nan():
    given = random(1, 4, 4).double()
    scale, shift = fit_affine(given, given, torch.zeros(1, 4, 4, dtype=torch.bool))
    assert (scale.item(), shift.item()) == (0, 0)


@pytest.mark.parametrize("gauge", list(COMPARABLE))
@pytest.mark.parametrize("alignment", ["none", "depth", "disparity", "log"])
def test_gauges_are_compared_only_where_they_mean_something(gauge, alignment):
    truth = Depth.of(random(1, 6, 6) + 1)
    values = {"affine-disparity": 1 / truth.values, "affine-log": truth.values.log()}.get(gauge, truth.values)
    prediction = Depth(values if gauge == "metres" else 0.3 * values + (gauge != "scale"), truth.valid, gauge)
    if alignment in COMPARABLE[gauge]:
        aligned = align(prediction, truth, alignment, truth.valid)
        if gauge != "scale" or alignment != "none":
            torch.testing.assert_close(aligned.float(), truth.values, rtol=1e-4, atol=1e-4)
    else:
        with pytest.raises(ProtocolError, match="choose a protocol"):
            align(prediction, truth, alignment, truth.valid)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 50) | st.floats(-50, -0.01), st.floats(-20, 20), st.sampled_from(["affine", "affine-log"]))
def test_aligned_scores_forgive_scale_and_shift(scale, shift, gauge):
    """Not so disparity: predictions that are not positive stay out of its fit, so a shift matters."""
    truth = Depth.of(0.5 + 5 * random(2, 10, 10))
    values = (random(2, 10, 10, seed=1) + truth.values).double()
    alignment = {"affine": "depth", "affine-log": "log"}[gauge]
    plain, moved = (score(v, gauge, truth, alignment) for v in (values, scale * values + shift))
    for name in plain:
        torch.testing.assert_close(moved[name], plain[name], rtol=1e-6, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 50), st.floats(0, 20))
def test_aligned_disparity_forgives_what_keeps_it_positive(scale, shift):
    truth = Depth.of(0.5 + 5 * random(2, 10, 10))
    values = (random(2, 10, 10, seed=1) + 1 / truth.values).double()
    plain, moved = (score(v, "affine-disparity", truth, "disparity") for v in (values, scale * values + shift))
    for name in plain:
        torch.testing.assert_close(moved[name], plain[name], rtol=1e-6, atol=1e-6)
