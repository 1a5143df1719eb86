"""What can be perceived: one page a task, one table."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ..errors import UsageError, pick
from .base import Head, Reading, Task
from .depth import CODECS as DEPTH
from .depth import LOSSES as DEPTH_LOSSES
from .depth import depth
from .detection import CODECS as DETECTION
from .detection import detection
from .instances import instances
from .masks import CODECS as REFERRING
from .masks import boundary, referring, saliency
from .normals import CODECS as NORMALS
from .normals import LOSSES as NORMALS_LOSSES
from .normals import normals
from .parts import parts
from .semantic import semantic

__all__ = ["CODECS", "LOSSES", "TASKS", "Head", "Reading", "Task", "make_tasks"]

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


LOSSES: dict[str, tuple[str, ...]] = {"depth": tuple(DEPTH_LOSSES), "normals": tuple(NORMALS_LOSSES)}
"""Tasks whose heads can learn by several losses, and their names; new heads take the first where none is named.

Made without a name, a task has the loss that heads had before there was a choice, so that old ones still open.
"""


def make_tasks(
    names: str | Sequence[str],
    classes: tuple[str, ...] = (),
    codecs: Mapping[str, str] = MappingProxyType({}),
    losses: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Task, ...]:
    """Tasks by name: a list, "a,b" or "all".

    `classes` names what label tasks tell apart, `codecs` how the truths of a task are drawn, `losses` by what its head
    learns. Raises `UsageError` for a name that is unknown or comes twice, and for a codec or loss that a task lacks.
    """
    if isinstance(names, str):
        names = list(TASKS) if names == "all" else [name.strip() for name in names.split(",")]
    if len(set(names)) < len(names):
        raise UsageError(f"A task was named twice: {', '.join(names)}.")
    for asked, known, noun in ((codecs, CODECS, "codecs"), (losses, LOSSES, "losses")):
        if fixed := sorted(asked.keys() - known.keys()):
            raise UsageError(f"There is no choice of {noun} for {', '.join(fixed)}, only for {', '.join(known)}.")
    return tuple(_make(name, classes, codec=codecs.get(name), loss=losses.get(name)) for name in names)


def _make(name: str, classes: tuple[str, ...], **choices: str | None) -> Task:
    make: Callable[..., Task] = pick(TASKS, name, "task")
    return make(classes, **{key: choice for key, choice in choices.items() if choice is not None})
