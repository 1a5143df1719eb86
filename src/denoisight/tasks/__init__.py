"""What can be perceived: one page a task, one table."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ..errors import UsageError, pick
from .base import Head, Reading, Task
from .depth import CODECS as DEPTH
from .depth import depth
from .detection import CODECS as DETECTION
from .detection import detection
from .instances import instances
from .masks import CODECS as REFERRING
from .masks import boundary, referring, saliency
from .normals import CODECS as NORMALS
from .normals import normals
from .parts import parts
from .semantic import semantic

__all__ = ["CODECS", "TASKS", "Head", "Reading", "Task", "make_tasks"]

TASKS: dict[str, Callable[..., Task]] = {
    "depth": depth,
    "normals": normals,
    "semantic": semantic,
    "boundary": boundary,
    "saliency": saliency,
    "referring": referring,
    "instances": instances,
    "detection": detection,
    "parts": parts,
}


CODECS: dict[str, tuple[str, ...]] = {
    "depth": tuple(DEPTH),
    "normals": tuple(NORMALS),
    "referring": tuple(REFERRING),
    "detection": tuple(DETECTION),
}
"""Tasks whose truth can be drawn in several ways, and their names; the first is taken where none is named."""


def make_tasks(
    names: str | Sequence[str], classes: tuple[str, ...] = (), codecs: Mapping[str, str] = MappingProxyType({})
) -> tuple[Task, ...]:
    """Tasks by name: a list, "a,b" or "all".

    `classes` names what label tasks tell apart, `codecs` how the truths of a task are drawn. Raises `UsageError` for a
    name that is unknown or comes twice, and for a codec that a task lacks.
    """
    if isinstance(names, str):
        names = list(TASKS) if names == "all" else [name.strip() for name in names.split(",")]
    if len(set(names)) < len(names):
        raise UsageError(f"A task was named twice: {', '.join(names)}.")
    if fixed := sorted(codecs.keys() - CODECS.keys()):
        raise UsageError(f"There is no choice of codecs for {', '.join(fixed)}, only for {', '.join(CODECS)}.")
    return tuple(_make(name, classes, codecs.get(name)) for name in names)


def _make(name: str, classes: tuple[str, ...], codec: str | None) -> Task:
    make: Callable[..., Task] = pick(TASKS, name, "task")
    return make(classes) if codec is None else make(classes, codec)
