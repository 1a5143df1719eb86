"""The Task value: what every room needs to know about one kind of perception."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Annotation
from ..codecs import Codec


class Reading(NamedTuple):
    """What a head's output says, and how unsure it is of each pixel, in [0, 1]; None where it cannot tell."""

    annotation: Annotation
    uncertainty: Float[Tensor, "*b h w"] | None


def mean_of_two(outputs: Tensor, others: Tensor) -> Tensor:
    return (outputs.float() + others.float()) / 2


@dataclass(frozen=True)
class Head:
    """How one pass over features becomes an annotation: so many output channels, their loss, their meaning.

    `loss(outputs [b c h w], truth, image)` is a scalar over valid pixels, `taught` the same of what another set of
    weights reads in place of a truth (`loss` where None): it is least where both say the same. `read(outputs, image)`
    decodes. `sideways`
    names the channels that point to the right where they are positive, `swapped` for each channel the one that says in
    a mirror image what it says (all their own where empty). `merge` is of two outputs for one picture.
    """

    channels: int
    loss: Callable[[Tensor, Any, Tensor], Tensor]
    read: Callable[[Tensor, Tensor], Reading]
    sideways: tuple[int, ...] = ()
    swapped: tuple[int, ...] = ()
    merge: Callable[[Tensor, Tensor], Tensor] = mean_of_two
    taught: Callable[[Tensor, Any, Tensor], Tensor] | None = None

    def mirrored(self, outputs: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        """What outputs for a picture are for its mirror image."""
        sign = outputs.new_ones(self.channels, 1, 1)
        sign[list(self.sideways)] = -1
        turned = outputs.flip(-1) * sign
        return turned[..., list(self.swapped), :, :] if self.swapped else turned


@dataclass(frozen=True)
class Task:
    """A value, not a class: see `docs/decisions/002-task-value.md` for how every planned task fits it.

    `truth` names the annotation in a Sample; `prompt` may hold "{text}", which the query's own text fills.
    """

    name: str
    truth: str
    kind: type[Annotation]
    codec: Codec[Any]
    prompt: str
    head: Head
    classes: tuple[str, ...] = ()

    def instruct(self, text: str = "") -> str:
        """The instruction that a network is given for a query with this text."""
        return self.prompt.replace("{text}", text)


def masked_mean(values: Float[Tensor, "*b h w"], valid: Tensor) -> Float[Tensor, ""]:
    """The mean over valid pixels; zero, with a gradient of zero, where there are none."""
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)


def image_mean(values: Float[Tensor, "*b h w"], valid: Tensor) -> Float[Tensor, "*b 1 1"]:
    """Each image's own mean over its valid pixels."""
    total = torch.where(valid, values, 0.0).sum((-2, -1), keepdim=True)
    return total / valid.sum((-2, -1), keepdim=True).clamp(min=1)
