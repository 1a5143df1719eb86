"""Created and edited images as a folder of files, and as one picture to look at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..annotations import Query, Sample
from ..data.images import load, read_image, write_png
from ..data.inputs import Input
from ..data.paired import AND, columns_of, drop_cut_off_line, facts_of, write_facts, write_pairs, written
from ..data.readers.layout import METADATA, read_metadata
from ..data.shards import LINES
from ..errors import DataError, UsageError
from ..predict.model import Model, as_query
from ..render import Picture, contact_sheet, to_rgb
from ..runtime import append_line
from .captions import parsed
from .edit import Editing, check, edit
from .pairs import Maker
from .shards import Slices, describe, refuse_others, settings_of
from .synthesize import Creation, stream

SHEET_PX = 1400
"""About how wide a sheet is."""
LINE_PX = 340
"""Room for a caption."""


DROPPED = "dropped.jsonl"


class Edited(NamedTuple):
    """How many images were made, and what is wrong with those that could not be read, by key."""

    made: int
    failed: dict[str, str]


def create_folder(model: Model, prompts: Sequence[str], folder: Path | str, how: Creation) -> int:
    """Write an image for each prompt to `folder/rgb/000001.png`, ..., going on where an earlier call stopped.

    It is a folder of images with captions like any other (`metadata.jsonl`); of "a red box, not a sphere" what is
    avoided stands in the column "avoid". Returns how many were made now.
    Raises `UsageError` where the folder holds images of other prompts, settings or weights.
    """
    folder = Path(folder)
    keys = [f"{index:06d}" for index in range(1, len(prompts) + 1)]
    captions = dict(zip(keys, map(parsed, prompts), strict=True))
    columns = {key: {"avoid": AND.join(avoid)} for key, (_, avoid) in captions.items() if avoid}
    rows = {key: {"text": caption.text, **columns.get(key, {})} for key, caption in captions.items()}
    _refuse_others(folder, _asked, {key: _asked(row) for key, row in rows.items()})
    done = written(folder)
    wanted = _wanted(keys, done)
    settings = {name: value for name, value in asdict(how).items() if name != "batch"}
    samples = stream(model, [prompts[i] for i in wanted], [keys[i] for i in wanted], how)
    return write_pairs(samples, folder, source=_source("created by", model, settings), columns=columns) - len(done)


def edit_folder(
    model: Model, images: Sequence[Input], instructions: Sequence[str], folder: Path | str, how: Editing, num: int = 1
) -> Edited:
    """Write each image as each instruction changes it, `num` times, going on where an earlier call stopped.

    A folder like that of `create_folder`: the text is the instruction, the column "source" the image's path. The first
    edit of an image is that of `edit_images`, whatever else is asked for. Images that cannot be read are left out.
    Raises `UsageError` for a model that does not edit, and where the folder holds edits of other images under the
    same names, or by other settings or weights.
    """
    folder = Path(folder)
    check(model, instructions, how)
    orders = [
        _Order(image, said, turn)
        for turn in range(1, num + 1)
        for image in images
        for said in dict.fromkeys(instructions)
    ]
    sources = {order.key: str(order.image.path.resolve()) for order in orders}
    _refuse_others(folder, lambda row: row.get("source"), sources)
    settings = _source("edited by", model, asdict(how))
    if (folder / "dataset_info.json").is_file():
        # The first photograph may be one that cannot be read.
        write_facts(folder, facts_of(Sample(Query(torch.zeros(3, 1, 1))), False, settings))
    done, failed = written(folder), dict[str, str]()
    wanted = [orders[i] for i in _wanted([order.key for order in orders], done)]
    columns = {key: {"source": path} for key, path in sources.items()}
    samples = _edits(model, wanted, how, failed)
    count = write_pairs(samples, folder, source=settings, columns=columns)
    return Edited(count - len(done), failed)


def pairs_folder(maker: Maker, folder: Path | str, shard_size: int = 100) -> dict[str, str]:
    """Write created pairs as a labelled folder, going on where an earlier call stopped; return why which were dropped.

    Its pictures and truths are those that shards of this size would hold; their provenance stands in the columns of
    `metadata.jsonl`, what was dropped in `dropped.jsonl`. Raises `UsageError` where the folder was made otherwise.
    """
    folder = Path(folder)
    slices = Slices.of(maker, shard_size)
    settings, lost = settings_of(maker, slices), folder / DROPPED
    refuse_others(folder, settings, LINES)
    drop_cut_off_line(lost)
    there = written(folder)
    lines = lost.read_text(encoding="utf-8").split("\n") if lost.is_file() else []
    rows = [json.loads(line) for line in lines if line]
    dropped: dict[str, str] = {row["key"]: row["reason"] for row in rows}
    columns: dict[str, dict[str, Any]] = {}

    def kept() -> Iterator[Sample]:
        for sources in map(slices.sources, range(len(slices))):
            if all(key in there or key in dropped for i in sources for key in maker.keys(i)):
                continue
            describe(maker, folder, settings)
            for made in maker.make(sources):
                if made.verdict.kind != "drop":
                    columns.clear()
                    columns[made.sample.key] = columns_of(made.facts)
                    yield made.sample
                elif made.sample.key not in dropped:
                    append_line(lost, {"key": made.sample.key, "reason": made.verdict.reason})
                    dropped[made.sample.key] = made.verdict.reason

    write_pairs(kept(), folder, exact=maker.annotating.exact, source=settings, columns=columns)
    return dropped


def draw_sheet(folder: Path | str, most: int = 48) -> Picture:
    """A contact sheet of the first images of a folder, those of one prompt side by side over their caption; edits of
    one image stand beside it, where it still is."""
    folder = Path(folder)
    alike: dict[tuple[str, str], list[Picture]] = {}
    rows, _ = read_metadata(folder / METADATA)
    for row in rows[:most]:
        source = row.get("source", "")
        before = [to_rgb(read_image(source))] if source and Path(source).is_file() else []
        alike.setdefault((source, row["text"]), before).append(np.asarray(load(folder / row["file_name"])))
    widest = max(map(len, alike.values()))
    cell_px = max(LINE_PX // widest, 96)
    blocks = [contact_sheet([pictures], captions=[text], cell_px=cell_px) for (_, text), pictures in alike.items()]
    block_px = max(block.shape[1] for block in blocks)
    columns = max(SHEET_PX // block_px, 1)
    grid = [blocks[i : i + columns] for i in range(0, len(blocks), columns)]
    return contact_sheet(grid, cell_px=max(block_px, *(block.shape[0] for block in blocks)))


def write_sheet(folder: Path | str) -> Path:
    return write_png(Path(folder) / "sheet.png", draw_sheet(folder))


@dataclass(frozen=True)
class _Order:
    """One edit: the `turn`-th of an image by an instruction."""

    image: Input
    instruction: str
    turn: int

    @property
    def key(self) -> str:
        # With a hash where the words could be others: "a b" and "a-b".
        other = hashlib.sha256(self.instruction.encode()).hexdigest()[:6] if "-" in self.instruction else ""
        return "-".join(filter(None, (f"{self.noise_key}#{self.instruction.replace(' ', '-')}", other)))

    @property
    def noise_key(self) -> str:
        """Alike for all instructions, so that they can be compared."""
        return self.image.key if self.turn == 1 else f"{self.image.key}#{self.turn}"


def _edits(model: Model, orders: Sequence[_Order], how: Editing, failed: dict[str, str]) -> Iterator[Sample]:
    for order in orders:
        try:
            query = as_query(order.image.path)
        except DataError as error:
            failed[order.image.key] = str(error)
            continue
        made = edit(model, replace(query, key=order.noise_key), order.instruction, how)
        yield replace(made, query=replace(made.query, key=order.key))


def _wanted(keys: Sequence[str], done: set[str]) -> list[int]:
    """The first image is made again even when it is there: its settings are compared with the folder's."""
    return [index for index, key in enumerate(keys) if index == 0 or key not in done]


def _source(verb: str, model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {verb: model.name, "weights": model.weights_hash[:16], **settings}


def _asked(row: Mapping[str, Any]) -> str:
    """What an image was created from."""
    return ", not ".join(filter(None, (row.get("text"), row.get("avoid"))))


def _refuse_others(folder: Path, of: Callable[[Mapping[str, Any]], str | None], asked: Mapping[str, str]) -> None:
    """Raises `UsageError` where an image that is there is `of` something else than is asked for."""
    if (folder / METADATA).is_file():
        for row in read_metadata(folder / METADATA)[0]:
            wanted = asked.get(str(row.get("key")))
            if wanted is not None and wanted != of(row):
                raise UsageError(
                    f"{folder} holds an image of {of(row)!r} where one of {wanted!r} was asked for; "
                    "choose another folder."
                )
