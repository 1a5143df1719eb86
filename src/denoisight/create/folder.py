"""Created images as a folder of files, and as one picture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..data.images import load, write_png
from ..data.paired import write_pairs, written
from ..data.readers.layout import METADATA, read_metadata
from ..errors import UsageError
from ..predict.model import Model
from ..render import Picture, contact_sheet
from .synthesize import Creation, stream

SHEET_PX = 1400
"""About how wide a sheet is."""
LINE_PX = 340
"""Room for a caption."""


def create_folder(model: Model, prompts: Sequence[str], folder: Path | str, how: Creation) -> int:
    """Write an image for each prompt to `folder/rgb/000001.png`, ..., going on where an earlier call stopped.

    It is a folder of images with captions like any other (`metadata.jsonl`). Returns how many were made now.
    Raises `UsageError` where the folder holds images of other prompts, settings or weights.
    """
    folder = Path(folder)
    keys = [f"{index:06d}" for index in range(1, len(prompts) + 1)]
    _refuse_other_prompts(folder, dict(zip(keys, prompts, strict=True)))
    done = written(folder)
    # The first image is made again even when it is there: its settings are compared with the folder's.
    wanted = [index for index, key in enumerate(keys) if index == 0 or key not in done]
    settings = {name: value for name, value in asdict(how).items() if name != "batch"}
    source = {"created by": model.name, "weights": model.weights_hash[:16], **settings}
    samples = stream(model, [prompts[i] for i in wanted], [keys[i] for i in wanted], how)
    return write_pairs(samples, folder, source=source) - len(done)


def draw_sheet(folder: Path | str, most: int = 48) -> Picture:
    """A contact sheet of the first images of a folder, those of one prompt side by side over their caption."""
    folder = Path(folder)
    of_prompt: dict[str, list[Picture]] = {}
    rows, _ = read_metadata(folder / METADATA)
    for row in rows[:most]:
        of_prompt.setdefault(row["text"], []).append(np.asarray(load(folder / row["file_name"])))
    widest = max(map(len, of_prompt.values()))
    cell_px = max(LINE_PX // widest, 96)
    blocks = [contact_sheet([pictures], captions=[text], cell_px=cell_px) for text, pictures in of_prompt.items()]
    block_px = max(block.shape[1] for block in blocks)
    columns = max(SHEET_PX // block_px, 1)
    grid = [blocks[i : i + columns] for i in range(0, len(blocks), columns)]
    return contact_sheet(grid, cell_px=max(block_px, *(block.shape[0] for block in blocks)))


def write_sheet(folder: Path | str) -> Path:
    return write_png(Path(folder) / "sheet.png", draw_sheet(folder))


def _refuse_other_prompts(folder: Path, prompts: dict[str, str]) -> None:
    if (folder / METADATA).is_file():
        for row in read_metadata(folder / METADATA)[0]:
            asked = prompts.get(str(row.get("key")))
            if asked is not None and asked != row.get("text"):
                raise UsageError(
                    f"{folder} holds an image of {row.get('text')!r} where one of {asked!r} was asked for; "
                    "choose another folder."
                )
