"""From whatever a user may hold to a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..annotations import Query
from ..data.images import picture_tensor, read_image
from ..errors import UsageError

ImageLike: TypeAlias = Query | Tensor | np.ndarray | Image.Image | str | Path


def as_query(image: ImageLike, index: int = 0, prompt: str = "", avoid: Sequence[str] | str = ()) -> Query:
    """A query from whatever a user may hold; its key is the file's stem, else its place in the list."""
    phrases = (avoid,) if isinstance(avoid, str) else tuple(avoid)
    if isinstance(image, Query):
        return replace(
            image, key=image.key or f"{index:06d}", text=prompt or image.text, avoid=phrases or image.avoid
        )  # fmt: skip
    if isinstance(image, str | Path):
        return Query(read_image(image), prompt, Path(image).stem, phrases)
    return Query(_pixels(image), prompt, f"{index:06d}", phrases)


def _pixels(image: Tensor | np.ndarray | Image.Image) -> Float[Tensor, "3 h w"]:
    if isinstance(image, Image.Image):
        return picture_tensor(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return picture_tensor(Image.fromarray(image))
    if isinstance(image, Tensor) and image.ndim == 3 and len(image) == 3:
        return image.float() / 255 if image.dtype == torch.uint8 else image.float()
    raise UsageError(
        f"An image of shape {tuple(image.shape)} and {image.dtype} came; give [3, h, w] tensors in [0, 1], "
        "uint8 arrays [h, w, 3], PIL images or paths, and several as a list."
    )
