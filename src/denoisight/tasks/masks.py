"""Tasks that mark what belongs: object boundaries, the salient object, and the thing that words mean."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..annotations import Mask
from ..codecs import Codec
from ..codecs.binary import Binary
from ..codecs.paint import Paint
from ..errors import pick
from .base import Head, Reading, Task, masked_mean

PLAIN = Binary()
CODECS: dict[str, Codec[Mask]] = {"mask": Binary(one_thing=True), "paint": Paint()}


def boundary(classes: tuple[str, ...] = ()) -> Task:
    """Few pixels lie on a boundary, so both classes weigh the same in its loss (Xie and Tu, ICCV 2015, eq. 2)."""
    return _marking("boundary", "boundary", "boundaries", balanced=True)


def saliency(classes: tuple[str, ...] = ()) -> Task:
    return _marking("saliency", "saliency", "salient object")


def referring(classes: tuple[str, ...] = (), codec: str = "mask") -> Task:
    """The thing that the query's text means: as a mask, or as paint on the image, for networks that edit."""
    chosen = pick(CODECS, codec, "codec of referring")
    return _marking("referring", "mask", "segment {text}", codec=chosen)


def _marking(name: str, truth: str, prompt: str, balanced: bool = False, codec: Codec[Mask] = PLAIN) -> Task:
    def loss(outputs: Tensor, truth: Mask, image: Tensor) -> Tensor:
        logits, inside = outputs.squeeze(-3), truth.probability
        error = F.binary_cross_entropy_with_logits(logits, inside, reduction="none")
        if balanced:
            # Of a pixel that is partly inside, as a thin line's are, each part weighs what its class does.
            share = masked_mean(inside, truth.valid)
            error = 2 * (inside * (1 - share) * F.softplus(-logits) + (1 - inside) * share * F.softplus(logits))
        return masked_mean(error, truth.valid)

    def taught(outputs: Tensor, answer: Mask, image: Tensor) -> Tensor:
        """A probability that was learnt with balanced classes is balanced: weighed by parts once more, it would grow
        whenever it is passed on. So each pixel weighs as a whole."""
        inside, share = answer.probability, masked_mean(answer.probability, answer.valid)
        error = F.binary_cross_entropy_with_logits(outputs.squeeze(-3), inside, reduction="none")
        return masked_mean(2 * (inside * (1 - share) + (1 - inside) * share) * error, answer.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        probability = outputs.float().squeeze(-3).sigmoid()
        unsure = 1 - (2 * probability - 1).abs()
        return Reading(Mask(probability, unsure >= 0), unsure)

    return Task(name, truth, Mask, codec, prompt, Head(1, loss, read, taught=taught if balanced else None))
