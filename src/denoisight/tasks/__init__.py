"""What can be perceived: one page a task, one table."""

from collections.abc import Sequence

from ..errors import UsageError, pick
from .base import Head, Reading, Task
from .depth import depth
from .instances import instances
from .masks import boundary, referring, saliency
from .normals import normals
from .semantic import semantic

__all__ = ["TASKS", "Head", "Reading", "Task", "make_tasks"]

TASKS = {
    "depth": depth,
    "normals": normals,
    "semantic": semantic,
    "boundary": boundary,
    "saliency": saliency,
    "referring": referring,
    "instances": instances,
}


def make_tasks(names: str | Sequence[str], classes: tuple[str, ...] = ()) -> tuple[Task, ...]:
    """Tasks by name: a list, "a,b" or "all". `classes` names what label tasks tell apart."""
    if isinstance(names, str):
        names = list(TASKS) if names == "all" else [name.strip() for name in names.split(",")]
    if len(set(names)) < len(names):
        raise UsageError(f"A task was named twice: {', '.join(names)}.")
    return tuple(pick(TASKS, name, "task")(classes) for name in names)
