"""The small scenes that the studies of training share, rendered once into `runs/studies`."""

from pathlib import Path

SIDE = 32


def scenes(train: int, val: int = 256, test: int = 512) -> Path:
    """A labelled folder of so many scenes of 32 x 32 pixels; what is missing is rendered."""
    from denoisight.data.render import render_scenes

    folder = Path("runs/studies") / f"scenes32-{train}"
    for split, count in (("train", train), ("val", val), ("test", test)):
        render_scenes(folder, split, count, (SIDE, SIDE), 0)
    return folder
