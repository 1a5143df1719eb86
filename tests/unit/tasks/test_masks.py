"""Losses of tasks that mark what belongs."""

import pytest
import torch

from denoisight.annotations import Mask
from denoisight.tasks import make_tasks


@pytest.mark.parametrize(("name", "even"), [("boundary", True), ("saliency", False)])
def test_few_pixels_on_a_boundary_pull_as_hard_as_the_many_beside_it(name: str, even: bool) -> None:
    (task,) = make_tasks([name])
    inside = torch.zeros(1, 10, 10)
    inside[0, 4, :5] = 1
    valid = torch.ones_like(inside, dtype=torch.bool)
    valid[0, :2] = False
    outputs = torch.zeros(1, 1, 10, 10, requires_grad=True)
    task.head.loss(outputs, Mask(inside, valid), torch.zeros(1, 3, 10, 10)).backward()
    pull = outputs.grad[0]
    up, down = -pull[inside > 0].sum(), pull[(inside == 0) & valid].sum()
    assert (pull[~valid] == 0).all() and up > 0 and down > 0
    assert torch.isclose(up, down) == even


def test_where_each_pixel_holds_a_quarter_of_a_line_it_is_found() -> None:
    """As after shrinking: what is best to say of a pixel weighs its parts as it would whole pixels."""
    share = 0.05
    truth = Mask(torch.full((1, 20, 20), 0.0), torch.ones(1, 20, 20, dtype=torch.bool))
    truth.probability[:, :, ::5] = 5 * share
    (task,) = make_tasks(["boundary"], ())
    best = torch.zeros(1, 1, 20, 20, requires_grad=True)
    for _ in range(300):
        (slope,) = torch.autograd.grad(task.head.loss(best, truth, torch.zeros(1, 3, 20, 20)) * 400, best)
        best = (best - 5 * slope).detach().requires_grad_()
    on, off = best.sigmoid()[..., ::5], best.sigmoid()[..., 1::5]
    expected = 5 * share * (1 - share) / (5 * share * (1 - share) + (1 - 5 * share) * share)
    torch.testing.assert_close(on, torch.full_like(on, expected), rtol=0, atol=0.01)
    assert expected > 0.8 and off.max() < 0.1
