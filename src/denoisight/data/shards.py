"""A folder of shards: plain tar files with a line each, which `webdataset` and Hugging Face `datasets` read too.

created-000000.tar      of each pair NUMBER.rgb.png, NUMBER.depth.png, NUMBER.normals.npz, NUMBER.seg.png, ..., and
                        NUMBER.json: its key, text and phrases, and where it is from
created-000000.json     the shard's line, written after it: a shard without one is not finished
manifest.jsonl          all lines, in order
dataset_info.json       units, kinds, and what the shards were made with
classes.json            the class names of label truths

Each shard has a line of its own so that workers never write to one file; `manifest.jsonl` is put together from them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError
from ..runtime import write_text

MANIFEST = "manifest.jsonl"
ENDINGS = {"semantic": "seg"}
"""Truths whose members are called otherwise."""


class ShardLine(BaseModel):
    """What is known of a finished shard.

    `made` images became `pairs`, `masked` of them with pixels that were made invalid; of the others `dropped` tells by
    key why not. `sources` [first, after the last] are the places in the source that it is made from, `settings` the
    hash of what it was made with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pairs: int
    made: int
    masked: int
    dropped: dict[str, str]
    sources: tuple[int, int]
    num_bytes: int
    sha256: str
    settings: str
    versions: dict[str, str]

    def is_whole(self, folder: Path) -> bool:
        """Whether its archive is there in its full length."""
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.num_bytes


def line_path(archive: Path) -> Path:
    return archive.with_suffix(".json")


def read_line(archive: Path) -> ShardLine | None:
    """The line beside an archive; None where it is not finished."""
    path = line_path(archive)
    return _parse(path, path.read_text(encoding="utf-8")) if path.is_file() else None


def read_lines(folder: Path) -> list[ShardLine]:
    """The lines of all finished shards, in the order of their names: those beside them, else those of the manifest."""
    found = {}
    if (folder / MANIFEST).is_file():
        listed = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        found = {line.name: line for line in (_parse(folder / MANIFEST, text) for text in listed if text.strip())}
    beside = [read_line(path) for path in sorted(folder.glob("*.tar"))]
    found |= {line.name: line for line in beside if line}
    return [found[name] for name in sorted(found)]


def write_manifest(folder: Path) -> list[ShardLine]:
    """Put `manifest.jsonl` together from the lines; whoever writes last has them all, since each looks again."""
    while True:
        lines = read_lines(folder)
        write_text(folder / MANIFEST, "".join(json.dumps(line.model_dump(mode="json")) + "\n" for line in lines))
        if read_lines(folder) == lines:
            return lines


def reasons(lines: Sequence[ShardLine]) -> dict[str, int]:
    """How many were dropped over all shards for each reason, the most frequent first."""
    counts = Counter(reason for line in lines for reason in line.dropped.values())
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _parse(path: Path, text: str) -> ShardLine:
    try:
        content: Any = json.loads(text)
        return ShardLine.model_validate(content)
    except (ValueError, ValidationError) as error:
        raise DataError(f"{path} holds no line of a shard ({str(error).splitlines()[0]}); remove it.") from error
