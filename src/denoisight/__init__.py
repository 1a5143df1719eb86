"""denoisight: one diffusion model that makes labelled images and sees.

>>> import denoisight
>>> denoisight.load("embedded").predict("photo.jpg", task="depth").save("out")

Names are imported when first used, so that `import denoisight` costs nothing and the command answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .annotations import Annotation, Batch, Boxes, Depth, Labels, Mask, Normals, Query, Sample
    from .create.edit import edit_images
    from .create.synthesize import create_images
    from .data.open import open_data
    from .errors import (
        DataError,
        DenoisightError,
        MissingExtraError,
        ProtocolError,
        RecipeError,
        SessionError,
        UsageError,
        WeightsError,
    )
    from .predict.load import load
    from .predict.model import Model
    from .predict.prediction import Prediction
    from .predict.session import Session

_HOMES = {
    "annotations": ("Annotation", "Batch", "Boxes", "Depth", "Labels", "Mask", "Normals", "Query", "Sample"),
    "create.edit": ("edit_images",),
    "create.synthesize": ("create_images",),
    "data.open": ("open_data",),
    "errors": (
        "DataError",
        "DenoisightError",
        "MissingExtraError",
        "ProtocolError",
        "RecipeError",
        "SessionError",
        "UsageError",
        "WeightsError",
    ),
    "predict.load": ("load",),
    "predict.model": ("Model",),
    "predict.prediction": ("Prediction",),
    "predict.session": ("Session",),
}
_HOME = {name: room for room, names in _HOMES.items() for name in names}

__all__ = [
    "Annotation",
    "Batch",
    "Boxes",
    "DataError",
    "DenoisightError",
    "Depth",
    "Labels",
    "Mask",
    "MissingExtraError",
    "Model",
    "Normals",
    "Prediction",
    "ProtocolError",
    "Query",
    "RecipeError",
    "Sample",
    "Session",
    "SessionError",
    "UsageError",
    "WeightsError",
    "__version__",
    "create_images",
    "edit_images",
    "load",
    "open_data",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'denoisight' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
