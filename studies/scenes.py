"""The procedural scenes that the studies of training share, rendered once into `runs/studies`."""

from pathlib import Path


def scenes(train: int, side: int = 32, val: int = 256, test: int = 512) -> Path:
    """A labelled folder of so many scenes of `side` x `side` pixels; what is missing is rendered."""
    from denoisight.data.render import render_scenes

    folder = Path("runs/studies") / f"scenes{side}-{train}"
    for split, count in (("train", train), ("val", val), ("test", test)):
        render_scenes(folder, split, count, (side, side), 0)
    return folder
