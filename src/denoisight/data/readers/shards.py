"""Shards of created pairs, as `create` writes them: see `data/shards.py` for what lies where."""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..archive import Member, members
from ..arrays import ARRAY_SUFFIXES
from ..images import IMAGE_SUFFIXES
from ..info import DatasetInfo, read_info
from ..problem import bad_file
from ..shards import LINES, MANIFEST, ShardLine, read_lines
from .folder import FolderReader, read_items
from .layout import TRUTH_NAMES, Index, Item, TruthFile, exacter

KINDS = {*IMAGE_SUFFIXES, *ARRAY_SUFFIXES, ".json"}


ABOUT = {"dataset_info.json", "classes.json", MANIFEST, "sheet.png"}


def is_shards(root: Path) -> bool:
    archives = list(root.glob("*.tar"))
    finished = any(path.with_suffix(".json").is_file() for path in archives)
    return finished or bool(archives and (root / MANIFEST).is_file()) or _is_begun(root)


def _is_begun(root: Path) -> bool:
    """Whether a folder says what its numbers mean, but has nothing yet besides archives without a line, or lines of
    shards without a pair."""
    there = {path.name for path in root.glob("[!.]*") if path.suffix != ".tar" and not path.match(LINES)}
    return "dataset_info.json" in there and there <= ABOUT


def read_shards(root: Path, split: str, truths: Sequence[str] = ()) -> FolderReader:
    """The pairs of all finished shards; a sample's bytes are read when it is asked for.

    Raises `DataError` for an archive that is missing, cut short, or holds what is no pair.
    """
    lines, info = _lines(root), read_info(root)
    if broken := [line.name for line in lines if not line.is_whole(root)]:
        raise _damaged(root / broken[0])
    items = tuple(item for line in lines if line.pairs for item in _items(root / line.name, info))
    if not items:
        raise _none_kept(root)
    unfinished = len({path.name for path in root.glob("*.tar")} - {line.name for line in lines})
    notes = (f"Left out {unfinished} shards that are not finished.",) if unfinished else ()
    return read_items(root, {"": Index(items, notes)}, split, truths, "shards", info)


def read_few(root: Path, most: int) -> tuple[FolderReader, dict[str, dict[str, Any]]]:
    """At most so many pairs, spread evenly over all, and where they are from; no shard is opened but theirs.

    Raises `DataError` as `read_shards`, but passes over archives that are missing or cut short.
    """
    kept, info = [line for line in _lines(root) if line.pairs], read_info(root)
    if not kept:
        raise _none_kept(root)
    lines = [line for line in kept if line.is_whole(root)]
    if not lines:
        raise _damaged(root / kept[0].name)
    ends = list(accumulate(line.pairs for line in lines))
    count = min(most, ends[-1])
    by_shard: dict[int, list[int]] = {}
    for place in (i * ends[-1] // count for i in range(count)):
        shard = bisect(ends, place)
        by_shard.setdefault(shard, []).append(place - ends[shard] + lines[shard].pairs)
    items, facts = list[Item](), dict[str, dict[str, Any]]()
    for shard, places in by_shard.items():
        archive = root / lines[shard].name
        there = _items(archive, info)
        items += [there[place] for place in places]
        facts |= provenance_in(archive)
    return read_items(root, {"": Index(tuple(items))}, "all", (), "shards", info), facts


def _lines(root: Path) -> list[ShardLine]:
    lines = read_lines(root)
    if not lines:
        raise DataError(
            f"No shard in {root} is finished yet; run the command that writes them (denoisight create, or data export) "
            "once more: it goes on where it was stopped."
        )
    return lines


def _damaged(archive: Path) -> DataError:
    return bad_file(archive, "damaged file", "is missing or cut short", "run what made it again")


def _none_kept(root: Path) -> DataError:
    return DataError(
        f"No image in {root} was kept; {MANIFEST} says why. Create with other settings, in another folder."
    )


def provenance(root: Path) -> dict[str, dict[str, Any]]:
    """Where each pair of the finished shards is from, by key: the content of its own JSON."""
    lines = [line for line in read_lines(root) if line.pairs]
    return {key: told for line in lines for key, told in provenance_in(root / line.name).items()}


def provenance_in(archive: Path) -> dict[str, dict[str, Any]]:
    """The same of a single shard."""
    found = (member for member in members(archive) if member.suffix == ".json" and member.name.count(".") == 1)
    return {told["key"]: told for told in map(_read, found)}


def _items(archive: Path, info: DatasetInfo) -> list[Item]:
    by_number: dict[str, dict[str, list[Member]]] = {}
    for member in members(archive):
        number, _, ending = member.name.partition(".")
        by_number.setdefault(number, {}).setdefault(ending.partition(".")[0], []).append(member)
    return [_item(found, info) for found in by_number.values()]


def _item(found: dict[str, list[Member]], info: DatasetInfo) -> Item:
    """A pair from its members by ending: "rgb", "json", and truths."""
    if "rgb" not in found or "json" not in found:
        first = next(iter(found.values()))[0]
        raise bad_file(first, "missing file", "has no picture or no description beside it", "make the shard again")
    told = _read(found["json"][0])
    truths: dict[str, TruthFile] = {}
    for ending, files in found.items():
        truth = TRUTH_NAMES.get(ending, ending)
        for file in files:
            if truth in info.kinds and file.suffix in KINDS:
                truths[truth] = exacter(truths.get(truth), TruthFile(file))
    return Item(told["key"], found["rgb"][0], truths, told.get("text", ""), told.get("phrases", {}))


def _read(member: Member) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(member.read_text())
        return {**content, "key": str(content["key"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_file(member, "damaged file", f"describes no pair ({error!r})", "make the shard again") from error
