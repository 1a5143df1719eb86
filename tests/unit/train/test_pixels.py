"""Which pixels enter a loss."""

import torch

from denoisight.train.pixels import sampled


def seeds(*keys: str, step: int = 0) -> list[tuple[int, str, int]]:
    return [(0, key, step) for key in keys]


def fields(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(seed))
    return draw[0], draw[1] > 0.3


def test_seven_tenths_of_them_are_the_most_uncertain_and_the_rest_are_drawn() -> None:
    unsure, valid = fields()
    chosen = sampled(unsure, valid, 0.4, seeds("a", "b", "c"))
    assert not chosen[~valid].any()
    for one, known, own in zip(chosen, valid, unsure, strict=True):
        count = round(0.4 * known.sum().item())
        assert one.sum() == count
        bar = own[known].sort(descending=True).values[round(0.7 * count) - 1]
        assert one[known & (own >= bar)].all()
        rest = one & (own < bar)
        # Drawn evenly: as unsure as the pixels that they were drawn from.
        assert abs(own[rest].mean() - own[known & (own < bar)].mean()) < 0.1


def test_the_draw_belongs_to_item_and_step() -> None:
    unsure, valid = fields()
    whole = sampled(unsure, valid, 0.4, seeds("a", "b", "c"))
    assert torch.equal(whole, sampled(unsure, valid, 0.4, seeds("a", "b", "c")))
    assert torch.equal(whole[1:2], sampled(unsure[1:2], valid[1:2], 0.4, seeds("b")))
    assert not torch.equal(whole, sampled(unsure, valid, 0.4, seeds("a", "b", "c", step=1)))


def test_all_or_nothing() -> None:
    unsure, valid = fields()
    assert torch.equal(sampled(unsure, valid, 1.0, seeds("a", "b", "c")), valid)
    assert not sampled(unsure, torch.zeros_like(valid), 0.4, seeds("a", "b", "c")).any()
