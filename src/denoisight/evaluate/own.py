"""A protocol for a user's own images: judged like the public ones, comparable only with itself."""

from ..data.readers import Reader, classes_of
from ..errors import pick
from ..tasks import TASKS
from .protocols import Protocol, list_hash


def own(reader: Reader, task: str, split: str = "") -> Protocol:
    """The images that a reader gives, all of them: affine-aligned depth by image, everything else pooled."""
    truth = pick(TASKS, task, "task")(("any",)).truth
    made = TASKS[task](classes_of(reader, truth) or ("any",))
    depth = task == "depth"
    return Protocol(
        name=f"own/{reader.name}",
        data=reader.name,
        split=split,
        task=task,
        truth=made.truth,
        count=len(reader),
        list_hash=list_hash(reader.keys),
        pooling="per-image" if depth else "pooled",
        resize="prediction to truth, nearest for labels, else bilinear",
        source="the user's own split",
        range_m=(1e-3, 1000.0) if depth else None,
        alignment="depth" if depth else None,
        classes=made.classes,
    )
