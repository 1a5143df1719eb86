"""A folder of shards: plain tar files with a line each, which `webdataset` and Hugging Face `datasets` read too.

created-000000.tar      of each pair NUMBER.rgb.png, NUMBER.depth.png, NUMBER.normals.npz, NUMBER.seg.png, ..., and
                        NUMBER.json: its key, text and phrases, and where it is from
created-000000.json     the shard's line, written after it: a shard without one is not finished. Where no pair was kept
                        there is the line alone, since `datasets` cannot read an archive without any
manifest.jsonl          all lines, in order
dataset_info.json       units, kinds, and what the shards were made with
classes.json            the class names of label truths

Each shard has a line of its own so that workers never write to one file; `manifest.jsonl` is put together from them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..annotations import Sample
from ..runtime import mend, whole_file, write_json, write_text, writer
from .archive import sha256_of, write_archive
from .files import write_annotation
from .images import write_image

log = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
LINES = "*-*[0-9].json"
"""How the lines of shards are called."""
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
        """Whether its archive, if it has pairs, is there in its full length."""
        path = folder / self.name
        return not self.pairs or path.is_file() and path.stat().st_size == self.num_bytes


def line_path(archive: Path) -> Path:
    return archive.with_suffix(".json")


def hash_of(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def finished(archive: Path, settings: str) -> ShardLine | None:
    """The line of a shard of these settings (their hash) that is whole, after a look at all its bytes."""
    line = read_line(archive)
    if line is None or line.settings != settings:
        return None
    if not line.is_whole(archive.parent) or line.pairs and sha256_of(archive) != line.sha256:
        log.warning("%s is not what it was when it was written; it is made again.", archive)
        return None
    return line


def write_shard(
    archive: Path, pairs: Iterable[list[tuple[str, bytes]]], line: Callable[[int, str], ShardLine]
) -> ShardLine:
    """Write an archive of `pairs` (the members of each, from `pair_members`) and then its line.

    `line` is asked once all pairs are written, with the archive's bytes and SHA-256. It is written last: whatever stops
    the writing before leaves a shard that is made again.
    """
    mend(archive.parent, f".{archive.stem}.*")
    line_path(archive).unlink(missing_ok=True)
    with whole_file(archive) as temporary:
        write_archive(temporary, (member for pair in pairs for member in pair))
        told = line(temporary.stat().st_size, sha256_of(temporary))
    if not told.pairs:
        archive.unlink(missing_ok=True)
        told = told.model_copy(update={"num_bytes": 0, "sha256": ""})
    write_text(line_path(archive), json.dumps(told.model_dump(mode="json"), indent=2) + "\n")
    return told


def pair_members(
    archive: Path, number: int, sample: Sample, facts: Mapping[str, Any], exact: bool = False
) -> list[tuple[str, bytes]]:
    """The members of a pair: its picture, its truths by name, and what it is. They are staged beside `archive`."""
    stage, name = archive.with_name(f".{archive.stem}.{writer()}.tmp"), f"{number:08d}"
    stage.mkdir(parents=True, exist_ok=True)
    try:
        paths = [write_image(stage / f"{name}.rgb.png", sample.image)]
        for truth, annotation in sorted(sample.truths.items()):
            paths += write_annotation(stage, f"{name}.{ENDINGS.get(truth, truth)}", annotation, exact)
        paths.append(stage / f"{name}.json")
        write_json(paths[-1], facts)
        return [(path.name, path.read_bytes()) for path in paths]
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def read_line(archive: Path) -> ShardLine | None:
    """The line beside an archive; None where it is not finished, or the line is damaged, which is said."""
    path = line_path(archive)
    return _parse(path, path.read_bytes()) if path.is_file() else None


def read_lines(folder: Path) -> list[ShardLine]:
    """The lines of all finished shards, in the order of their names: those beside them, else those of the manifest.

    A damaged line is none, which is said, whatever the manifest still tells of its shard.
    """
    manifest = folder / MANIFEST
    listed = manifest.read_bytes().splitlines() if manifest.is_file() else []
    lines = filter(None, (_parse(manifest, text) for text in listed if text.strip()))
    found: dict[str, ShardLine | None] = {line.name: line for line in lines}
    for path in folder.glob(LINES):
        found[path.with_suffix(".tar").name] = _parse(path, path.read_bytes())
    return [line for _, line in sorted(found.items()) if line]


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


def _parse(path: Path, text: bytes) -> ShardLine | None:
    try:
        return ShardLine.model_validate_json(text)
    except ValidationError as error:
        # What made the shard makes it again; whoever reads must not take it for whole.
        log.warning("%s holds a damaged line (%s): its shard counts as not finished.", path, error.errors()[0]["msg"])
        return None
