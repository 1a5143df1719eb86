"""Surface normals in the camera frame."""

import torch.nn.functional as F
from torch import Tensor

from ..annotations import Normals
from ..codecs import Codec
from ..codecs.unit_vector import UnitVector
from ..errors import pick
from .base import Head, Reading, Task, masked_mean

CODECS: dict[str, Codec[Normals]] = {"unit": UnitVector(), "clipped": UnitVector(clip=True)}


def normals(classes: tuple[str, ...] = (), codec: str = "unit") -> Task:
    """As unit vectors; "clipped" reads them as Marigold does."""
    chosen = pick(CODECS, codec, "codec of normals")

    def loss(outputs: Tensor, truth: Normals, image: Tensor) -> Tensor:
        """1 - cos of the angle: smooth everywhere, unlike the angle itself at zero."""
        cosine = (F.normalize(outputs, dim=-3, eps=1e-3) * truth.vectors).sum(-3)
        return masked_mean(1 - cosine, truth.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(chosen.decode(outputs, image), None)

    return Task("normals", "normals", Normals, chosen, "surface normals", Head(3, loss, read))
