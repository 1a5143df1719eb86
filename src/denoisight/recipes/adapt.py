"""Teach a trained model a task from a folder of labelled images."""

from .base import Recipe


def adapt(tasks: tuple[str, ...], data: str) -> Recipe:
    """denoisight train TASK --data DIR

    All weights of the embedded model are trained on, at twice its resolution.
    """
    return Recipe(recipe="adapt", tasks=tasks, data=data, res=128)
