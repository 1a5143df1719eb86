"""Truth <-> canvas: how an annotation is drawn as a picture in [-1, 1] that a diffusion model can denoise."""

from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Annotation

Truth = TypeVar("Truth", bound=Annotation)


class Canvas(NamedTuple):
    """A truth drawn as a picture; pixels that are not valid are zero and teach nothing."""

    pixels: Float[Tensor, "*b 3 h w"]
    valid: Bool[Tensor, "*b h w"]


@runtime_checkable
class Codec(Protocol[Truth]):
    """A reversible mapping without weights. Both ways take the image too: some codecs draw onto it."""

    def encode(self, truth: Truth, image: Float[Tensor, "*b 3 h w"]) -> Canvas: ...

    def decode(self, pixels: Float[Tensor, "*b 3 h w"], image: Float[Tensor, "*b 3 h w"]) -> Truth:
        """Pixels may leave [-1, 1] and be noisy; every canvas decodes to something."""
        ...
