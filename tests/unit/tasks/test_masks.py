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
