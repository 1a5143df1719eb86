"""Parts of things: one part a pixel, the first for everything that has none."""

from .base import Task
from .semantic import labelling


def parts(classes: tuple[str, ...] = ()) -> Task:
    """Raises `UsageError` without the parts' names."""
    return labelling("parts", "parts", classes)
