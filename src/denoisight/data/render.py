"""Procedural scenes as a folder of files."""

from __future__ import annotations

from pathlib import Path

from .paired import write_pairs, written
from .scenes import VERSION, Scenes


def render_scenes(
    out: Path | str, split: str = "train", num: int = 100, size: tuple[int, int] = (64, 64), seed: int = 0
) -> int:
    """Write `num` scenes of `size` (height, width) to `out/split`, going on where an earlier call stopped.

    Returns how many lie there then. Raises `UsageError` where the folder holds scenes of another kind.
    """
    scenes = Scenes(split, num, size, seed)
    folder = Path(out) / split
    done = written(folder)
    # The first scene is traced again even when it is there: it shows whether the folder is of this kind.
    wanted = (scenes[i] for i in range(num) if i == 0 or scenes.key(i) not in done)
    source = {"scenes": VERSION, "split": split, "size": list(size), "seed": seed}
    return write_pairs(wanted, folder, source=source)
