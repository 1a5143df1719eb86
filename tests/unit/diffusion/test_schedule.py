import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.diffusion.schedule import (
    SCHEDULES,
    SPACINGS,
    Schedule,
    flow,
    linear,
    scaled_linear,
    timesteps,
    zero_terminal,
)
from denoisight.errors import UsageError

VARIANCE_PRESERVING = [name for name in SCHEDULES if name != "flow"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_bears_the_name_of_its_table(name):
    assert SCHEDULES[name]().name == name
    assert SCHEDULES[name]().num_timesteps == 1000


@pytest.mark.parametrize("name", VARIANCE_PRESERVING)
def test_variance_is_preserved(name):
    schedule = SCHEDULES[name]()
    torch.testing.assert_close(schedule.alphas**2 + schedule.sigmas**2, torch.ones(1000).double())


def test_linear_multiplies_its_betas():
    squared = torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7], dtype=torch.float64)
    schedule = linear(3, beta_start=0.1, beta_end=0.3)
    torch.testing.assert_close(schedule.alphas, squared.sqrt())
    torch.testing.assert_close(schedule.sigmas, (1 - squared).sqrt())


def test_scaled_linear_spaces_the_roots_of_its_betas():
    squared = torch.tensor([0.99, 0.99 * 0.96, 0.99 * 0.96 * 0.91], dtype=torch.float64)
    torch.testing.assert_close(scaled_linear(3, beta_start=0.01, beta_end=0.09).alphas, squared.sqrt())


def test_flow_is_a_straight_line_to_pure_noise():
    schedule = flow(4)
    assert schedule.sigmas.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert schedule.alphas.tolist() == [0.75, 0.5, 0.25, 0.0]


def test_zero_terminal_keeps_the_first_level_and_ends_in_pure_noise():
    before, after = scaled_linear(), zero_terminal(scaled_linear())
    assert after.alphas[-1] == 0
    torch.testing.assert_close(after.alphas[0], before.alphas[0])
    shrink = after.alphas.diff() / before.alphas.diff()
    torch.testing.assert_close(shrink, shrink[:1].expand(999))


def test_lambda_is_infinite_only_in_pure_noise():
    assert flow(4).lambdas.tolist() == [1 / 3, 1.0, 3.0, float("inf")]


def test_levels_of_any_shape_with_the_clean_point_at_minus_one():
    level = flow(4).at(torch.tensor([[3, 0], [-1, 1]]))
    assert level.alpha.tolist() == [[0.0, 0.75], [1.0, 0.5]]
    assert level.sigma.tolist() == [[1.0, 0.25], [0.0, 0.5]]
    assert level.t.tolist() == [[3.0, 0.0], [-1.0, 1.0]]
    assert level.alpha.dtype == torch.float32
    assert flow(4).at(torch.tensor(2), torch.float64).sigma.dtype == torch.float64


@pytest.mark.parametrize(("noise_level", "t"), [(0.0001, 0), (0.25, 250), (0.6, 600), (1.0, 999)])
def test_noise_level_is_t_over_the_number_of_timesteps(noise_level, t):
    assert scaled_linear().timestep(noise_level) == t


@pytest.mark.parametrize("noise_level", [0.0, -0.1, 1.01])
def test_noise_levels_outside_the_unit_interval_are_refused(noise_level):
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        scaled_linear().timestep(noise_level)


@pytest.mark.parametrize(
    ("alphas", "sigmas"),
    [([0.5, 0.6], [0.1, 0.2]), ([0.5, -0.1], [0.1, 0.2]), ([0.5, 0.4], [0.0, 0.2])],
    ids=["rising alpha", "negative alpha", "zero sigma"],
)
def test_impossible_tables_are_refused(alphas, sigmas):
    with pytest.raises(UsageError, match="'odd'"):
        Schedule("odd", torch.tensor(alphas), torch.tensor(sigmas))


@pytest.mark.parametrize(
    ("spacing", "grid"),
    [
        ("trailing", [999, 749, 499, 249]),
        ("leading", [750, 500, 250, 0]),
        ("linspace", [999, 666, 333, 0]),
    ],
)
def test_spacings(spacing, grid):
    assert timesteps(scaled_linear(), 4, spacing) == grid


def test_a_partial_walk_covers_the_levels_below_its_start():
    assert timesteps(scaled_linear(), 3, "trailing", start=0.6) == [600, 400, 199]
    assert timesteps(scaled_linear(), 3, "leading", start=0.6) == [600, 200, 0]


@settings(max_examples=50, deadline=None)
@given(
    num_levels=st.integers(1, 300),
    share=st.floats(0, 1),
    spacing=st.sampled_from(sorted(SPACINGS)),
    start=st.none() | st.floats(0.001, 1),
)
def test_every_grid_falls_strictly_within_its_levels(num_levels, share, spacing, start):
    schedule = flow(num_levels)
    first = schedule.num_timesteps - 1 if start is None else schedule.timestep(start)
    steps = 1 + round(share * first)
    grid = timesteps(schedule, steps, spacing, start)
    assert len(grid) == steps
    assert all(later < earlier for earlier, later in zip(grid, grid[1:], strict=False))
    assert grid[-1] >= 0 and grid[0] <= first
    assert grid[0] == first or (start is None and (spacing.startswith("leading") or steps == 1))


@pytest.mark.parametrize(("steps", "start"), [(0, None), (1001, None), (102, 0.1)])
def test_more_steps_than_levels_or_none_are_refused(steps, start):
    with pytest.raises(UsageError, match=f"^{steps} steps"):
        timesteps(scaled_linear(), steps, start=start)


def test_an_unknown_spacing_lists_the_known_ones():
    with pytest.raises(UsageError, match="leading, leading-offset, linspace, trailing"):
        timesteps(scaled_linear(), 4, "karras")
