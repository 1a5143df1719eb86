"""Whatever can be read -> COCO's form, our labelled folder, or our shards; the same call goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..annotations import Sample
from ..errors import UsageError
from ..runtime import mend, versions
from .archive import FilePath, Member
from .coco import write_coco
from .info import read_json
from .paired import columns_of, facts_of, tell_progress, write_facts, write_pairs, written
from .readers import Reader
from .readers.folder import FolderReader
from .readers.layout import METADATA, Item, read_metadata
from .readers.shards import provenance_in
from .shards import ShardLine, finished, hash_of, pair_members, write_manifest, write_shard

ExportFormat = Literal["coco", "folder", "shards"]


def export(
    reader: Reader, folder: Path | str, format: ExportFormat, *, exact: bool = False, shard_size: int = 1000
) -> int:
    """Write all samples of `reader` to `folder`; return how many lie there then. Memory does not grow with pixels.

    What is known of created pairs goes along: as columns (folder), in each pair's JSON (shards), in `images` (coco).
    With `exact`, metric depth keeps its float32 values in folders and shards, where it is else rounded to millimetres.
    Raises `UsageError` where the folder holds anything else, or `exact` is asked of COCO, which holds no depth;
    `DataError` where a sample cannot be read, or nothing more can be written; what is finished stays.
    """
    folder = Path(folder)
    if format == "coco" and exact:
        raise UsageError("COCO's form holds no depth to keep exact; leave --exact out, or take folder or shards.")
    if shard_size < 1:
        raise UsageError(f"A shard size of {shard_size} was asked for; give 1 or more.")
    source = _source(reader)
    match format:
        case "coco":
            count = write_coco(reader, folder, source, lambda i: _provenance(reader, i))
        case "folder":
            count = _write_folder(reader, folder, source, exact)
        case "shards":
            count = _write_shards(reader, folder, {**source, "shard_size": shard_size}, shard_size, exact)
    if format != "folder":  # else `write_pairs` did
        mend(folder)
    return count


def _source(reader: Reader) -> dict[str, Any]:
    """Where the samples are from, and what those who made them told about it."""
    keys = hashlib.sha256()
    for key in reader.keys:
        keys.update(key.encode() + b"\n")
    told: dict[str, Any] = {"exported_from": reader.name, "samples": len(reader), "keys": keys.hexdigest()[:16]}
    told["truths"] = list(reader.truths)
    items = reader.items if isinstance(reader, FolderReader) else ()
    if items and (root := _root_of(items[0])) and (root / "dataset_info.json").is_file():
        told["origin"] = read_json(root / "dataset_info.json").get("source", {})
    return told


def _write_folder(reader: Reader, folder: Path, source: dict[str, Any], exact: bool) -> int:
    done, columns = written(folder), dict[str, Mapping[str, Any]]()

    def wanted() -> Iterator[Sample]:
        for i, key in enumerate(reader.keys):
            # The first sample is read again even when it is there: it shows whether the folder is of this kind.
            if i == 0 or key not in done:
                columns.clear()
                columns[key] = columns_of(_provenance(reader, i))
                yield reader[i]
            tell_progress(i + 1, len(reader))

    return write_pairs(wanted(), folder, exact=exact, source=source, columns=columns)


def _write_shards(reader: Reader, folder: Path, settings: dict[str, Any], shard_size: int, exact: bool) -> int:
    write_facts(folder, facts_of(reader[0], exact, settings))
    lines: list[ShardLine] = []
    try:
        for first in range(0, len(reader), shard_size):
            archive = folder / f"pairs-{first // shard_size:06d}.tar"
            places = range(first, min(first + shard_size, len(reader)))
            lines.append(
                finished(archive, hash_of(settings)) or _write_shard(reader, archive, places, hash_of(settings), exact)
            )
            tell_progress(places.stop, len(reader), shard_size)
    finally:
        if lines:
            write_manifest(folder)
    return sum(line.pairs for line in lines)


def _write_shard(reader: Reader, archive: Path, places: range, settings: str, exact: bool) -> ShardLine:
    def pairs() -> Iterator[list[tuple[str, bytes]]]:
        for i in places:
            sample = reader[i]
            told: dict[str, Any] = {"key": sample.key, "text": sample.query.text}
            told |= {"phrases": dict(sample.phrases)} if sample.phrases else {}
            yield pair_members(archive, i, sample, {**_provenance(reader, i), **told}, exact)

    def line(num_bytes: int, digest: str) -> ShardLine:
        count, sources = len(places), (places.start, places.stop)
        return ShardLine(
            name=archive.name, pairs=count, made=count, masked=0, dropped={}, sources=sources, num_bytes=num_bytes,
            sha256=digest, settings=settings, versions=versions(),
        )  # fmt: skip

    return write_shard(archive, pairs(), line)


def _root_of(item: Item) -> Path | None:
    """The folder of shards, or of pictures with a list of them, that an item lies in; None where there is none."""
    if isinstance(item.image, Member):
        return item.image.archive.parent
    return next((folder for folder in item.image.parents[:2] if (folder / METADATA).is_file()), None)


def _provenance(reader: Reader, i: int) -> dict[str, Any]:
    """What is known of a created pair, {} of others. Of one in a folder these are single values, as columns are."""
    item = reader.items[i] if isinstance(reader, FolderReader) else None
    if item and isinstance(item.image, Member):
        return _told(item.image.archive)[item.key]
    # By its file, since the key may begin with the name of a split.
    return _columns(root).get(item.image, {}) if item and (root := _root_of(item)) else {}


@lru_cache(maxsize=1)
def _columns(folder: Path) -> dict[FilePath, dict[str, Any]]:
    """Of the pairs in a folder that `create` has judged, by picture; where their files lie there is nobody else's
    business."""
    rows = [row for row in read_metadata(folder / METADATA)[0] if "verdict" in row]
    own = ("key", "text", "file_name", "_exact")
    return {folder / row["file_name"]: {name: row[name] for name in row if not name.endswith(own)} for row in rows}


@lru_cache(maxsize=2)
def _told(archive: Path) -> dict[str, dict[str, Any]]:
    """Of one archive after the other, so that no more than two lie in memory."""
    return provenance_in(archive)
