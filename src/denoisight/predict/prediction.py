"""What every prediction is, whichever task and route it came by."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..annotations import Annotation, Query
from ..data.files import write_annotation
from ..data.images import write_png
from ..render import colour
from ..runtime import whole_file


@dataclass(frozen=True, eq=False)
class Prediction:
    """An annotation of a query.

    `uncertainty` [h w] is in [0, 1], None where the route has no way to tell (one member, no head for it).
    `trajectory` holds the clean estimate after every denoising step, empty unless it was asked for.
    `latent` [c h2 w2] is the denoised canvas before decoding, None on the readout route.
    """

    query: Query
    task: str
    annotation: Annotation
    uncertainty: Float[Tensor, "h w"] | None = None
    latent: Tensor | None = None
    trajectory: tuple[Annotation, ...] = ()
    settings: dict[str, str | int | float] = field(default_factory=dict)

    def save(self, out: Path | str) -> list[Path]:
        """Write exact values and a coloured picture into a folder; returns what was written.

        The files are named after the query's key and the task. Raises `DataError` where the folder cannot be
        written; each file is whole or absent.
        """
        out = Path(out)
        name = self.query.key or "image"
        written = write_annotation(out, f"{name}_{self.task}", self.annotation)
        if self.uncertainty is not None:
            spread = out / f"{name}_{self.task}_uncertainty.npy"
            with whole_file(spread) as temporary:
                np.save(temporary, self.uncertainty.float().cpu().numpy())
            written.append(spread)
        # The picture comes last: where it stands, everything does.
        picture = _picture_path(out, name, self.task)
        write_png(picture, self.picture())
        return [*written, picture]

    @staticmethod
    def is_saved(out: Path | str, key: str, task: str) -> bool:
        """Whether an earlier `save` of this key and task was finished."""
        return _picture_path(Path(out), key, task).exists()

    def picture(self) -> np.ndarray:
        """The annotation in colours, uint8 [h w 3]."""
        return np.asarray(colour(self.annotation))

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        Image.fromarray(self.picture()).save(buffer, format="PNG")
        return buffer.getvalue()


def _picture_path(out: Path, key: str, task: str) -> Path:
    return out / f"{key}_{task}_colour.png"
