"""A mask as black and white."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Mask
from . import Canvas


@dataclass(frozen=True)
class Binary:
    """White (1) inside, black (-1) outside; the grey between is read as a probability.

    With `one_thing` something is known to be there, and it is asked which pixels: a network that hesitates between two
    things answers less than one half for both, and nothing would be inside. Probabilities are then stretched so that
    one half is where the expected IoU of what is inside with the truth is largest (after Nowozin, "Optimal decisions
    from probabilistic models: the intersection-over-union case", CVPR 2014). Nothing about it is learnt.
    """

    one_thing: bool = False

    def encode(self, truth: Mask, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        level = torch.where(truth.valid, truth.probability * 2 - 1, 0.0)[..., None, :, :]
        return Canvas(level.expand(*level.shape[:-3], 3, *level.shape[-2:]), truth.valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Mask:
        probability = ((pixels.float().mean(-3) + 1) / 2).clamp(0, 1)
        valid = torch.ones_like(probability, dtype=torch.bool)
        return Mask(_stretch(probability) if self.one_thing else probability, valid)


def _stretch(probability: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
    """Piecewise linear and rising, with 0 and 1 where they are."""
    cut = _best_cut(probability)[..., None, None]
    low = probability / (2 * cut)
    high = 1 - (1 - probability) / (2 * (1 - cut)).clamp(min=1e-6)
    inside: Bool[Tensor, "*b h w"] = probability >= cut
    return torch.where(inside, high.clamp(min=0.5), low.clamp(max=0.4999))


def _best_cut(probability: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """The least probability inside where the k most probable pixels have the largest expected IoU.

    With independent pixels the expected intersection is the sum of what is inside, and the expected union k and the sum
    of what is outside; their ratio stands for the expectation of the ratio.
    """
    falling = probability.flatten(-2).sort(dim=-1, descending=True).values
    inside = falling.cumsum(-1)
    count = torch.arange(1, falling.shape[-1] + 1, device=falling.device)
    iou = inside / (count + inside[..., -1:] - inside).clamp(min=1e-6)
    return falling.gather(-1, iou.argmax(-1, keepdim=True)).squeeze(-1).clamp(1e-3, 1.0)
