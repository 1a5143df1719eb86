"""Classes as flat colours."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import IGNORE, Labels
from ..errors import UsageError
from . import Canvas

MOST = IGNORE
"""How many classes a picture of labels can hold: 255 itself means "ignore"."""


@dataclass(frozen=True)
class Palette:
    """One colour of the cube [-1, 1]^3 for each class; the nearest colour is the class.

    The colours lie 2 apart for up to 8 classes, at least 1.41 for up to 14, 1 for up to 27, 2/3 for up to 64, 1/2 for
    up to 125 and 1/3 for 255. Noise of standard deviation 0.1 in each channel then misreads no pixel with up to 27
    classes, 0.2 % with 64, 3 % with 125, 8 % with 150 and 18 % with 255.
    """

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= MOST:
            raise UsageError(f"A palette holds 1 to {MOST} classes, not {len(self.classes)}.")

    @property
    def colours(self) -> Float[Tensor, "k 3"]:
        return _spread(len(self.classes))

    def encode(self, truth: Labels, image: Float[Tensor, "*b 3 h w"]) -> Canvas:
        """Labels beyond the last class are ignored, like `IGNORE` itself."""
        valid = (truth.ids >= 0) & (truth.ids < len(self.classes))
        colours = self.colours.to(image)[torch.where(valid, truth.ids, 0)].movedim(-1, -3)
        return Canvas(torch.where(valid[..., None, :, :], colours, 0.0), valid)

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Labels:
        colours = self.colours.to(pixels.device)
        # |p - c|^2 without the |p|^2 that every class shares.
        score = torch.einsum("...chw,kc->...khw", pixels.float(), 2 * colours)
        return Labels((score - (colours**2).sum(-1)[:, None, None]).argmax(-3), self.classes)


@cache
def _spread(count: int) -> Tensor:
    """The corners of the cube, then the middles of its faces; for more, the coarsest cubic lattice with enough points.

    The first of a lattice are taken farthest point first. Where corners and faces do, no colour lies in the middle of
    the cube, where pixels end of which a network knows nothing.
    """
    if count <= 14:
        faces = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, -1], [0, -1, 0], [-1, 0, 0]])
        return torch.cat([_farthest_first(_lattice(2), 8), faces])[:count]
    return _farthest_first(_lattice(next(n for n in range(3, 8) if n**3 >= count)), count)


def _lattice(side: int) -> Tensor:
    axis = torch.linspace(-1, 1, side)
    return torch.cartesian_prod(axis, axis, axis)


def _farthest_first(points: Tensor, count: int) -> Tensor:
    chosen = [0]
    distance = (points - points[0]).norm(dim=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).norm(dim=1))
    return points[chosen]
