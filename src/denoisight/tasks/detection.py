"""Detection: a box around every thing, of whatever class, with a score."""

from __future__ import annotations

from torch import Tensor

from ..annotations import Boxes
from ..codecs import Codec
from ..codecs.boxes import CentreBoxes
from ..codecs.frames import Frames
from ..errors import pick
from .base import Head, Reading, Task, masked_mean

CENTRES = CentreBoxes()
CODECS: dict[str, Codec[Boxes]] = {"centres": CENTRES, "paint": Frames()}


def detection(classes: tuple[str, ...] = (), codec: str = "centres") -> Task:
    """Boxes as maps of centres and sizes, or as frames on the image, for networks that edit; heads read the maps."""

    def loss(outputs: Tensor, truth: Boxes, image: Tensor) -> Tensor:
        canvas = CENTRES.encode(truth, image)
        return masked_mean((outputs - canvas.pixels).abs().mean(-3), canvas.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(CENTRES.decode(outputs, image), None)

    chosen = pick(CODECS, codec, "codec of detection")
    return Task("detection", "boxes", Boxes, chosen, "boxes", Head(3, loss, read))
