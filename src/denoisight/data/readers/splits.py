"""Which items are for learning, for choosing and for judging."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...annotations import base_of
from ...errors import DataError, shortlist
from ..info import read_json
from .layout import Index, Item, index, subfolders

SPLITS = ("train", "val", "test")
FOLDER_NAMES: Mapping[str, str] = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
HELD_OUT = 0.15
"""The share that is held out as val, and again as test, where nobody said which."""


def split_folders(root: Path) -> dict[str, Path]:
    """The folders train/, val/, test/ of `root`, by split."""
    found = {FOLDER_NAMES.get(path.name.lower(), ""): path for path in subfolders(root)}
    return {split: found[split] for split in SPLITS if split in found}


def indices(root: Path) -> dict[str, Index]:
    """The items of `root` by split folder; all under "" where it has no such folders."""
    folders = {} if (root / "metadata.jsonl").is_file() else split_folders(root)
    return {split: index(folder) for split, folder in folders.items()} if folders else {"": index(root)}


def select(root: Path, found: Mapping[str, Index], split: str) -> tuple[Sequence[Item], str]:
    """The items of one split (train, val, test, all), and what to tell about how it was made.

    `found` holds items by split, or all of them under "". Raises `DataError` for a split with nothing in it.
    """
    if split == "all":
        return [
            replace(item, key=f"{part}/{item.key}" if part else item.key)
            for part, index in found.items()
            for item in index.items
        ], ""
    if "" in found:
        parts, note = divide(root, found[""].items)
    else:
        parts, note = {part: list(index.items) for part, index in found.items()}, ""
    if "val" not in parts and "train" in parts and split in ("train", "val"):
        parts = {**parts, **hold_out(parts["train"], test=False)}
        note = "No val split was given: 15 % of train by a hash of the names is val."
    if not parts.get(split):
        has = ", ".join(f"{name} ({len(items)})" for name, items in parts.items())
        raise DataError(f"{root} has nothing in split {split!r}; it has {has}. Ask for one of these or add items.")
    return parts[split], note


def divide(root: Path, items: Sequence[Item]) -> tuple[dict[str, list[Item]], str]:
    """Items by split, and what to tell the user about it.

    First choice is a `splits.json` in the folder ({"train": [stems], "val": [...], "test": [...]}) or in its
    parent (the same under the folder's name); items that it does not name belong to no split. Then folders
    of the splits' names within the image folder. Else `hold_out` decides by the items' names: sequences of
    nearly equal frames should come with a splits.json, since neighbours may fall on both sides.
    """
    if stated := _stated(root):
        path, lists = stated
        by_key = {item.key: item for item in items}
        missing = [key for keys in lists.values() for key in keys if key not in by_key]
        if missing:
            raise DataError(f"{path} names items that are not in {root}: {shortlist(missing)}; mend one of the two.")
        return {split: [by_key[key] for key in sorted(keys)] for split, keys in lists.items()}, ""
    heads = {FOLDER_NAMES.get(item.key.split("/")[0].lower(), "") for item in items}
    if "" not in heads:
        parts: dict[str, list[Item]] = {split: [] for split in SPLITS if split in heads}
        for item in items:
            parts[FOLDER_NAMES[item.key.split("/")[0].lower()]].append(item)
        return parts, ""
    note = "No splits were given: 15 % of the items by a hash of their names are val, 15 % test, the rest train."
    return hold_out(items), note


def hold_out(items: Sequence[Item], test: bool = True) -> dict[str, list[Item]]:
    """Split by a hash of each item's key, so that neither order nor new items move an item to another split.

    Of a key such as NAME#PHRASE only the name counts: what is said about one picture stays together.
    Of two pictures or more, at least one each is for train and val.
    """
    share = {item.key: _share(base_of(item.key)) for item in items}
    bounds = (HELD_OUT, 2 * HELD_OUT if test else HELD_OUT)
    part = {key: "val" if x < bounds[0] else "test" if x < bounds[1] else "train" for key, x in share.items()}
    least, most = min(share.values(), default=0.0), max(share.values(), default=0.0)
    part.update({key: "val" for key, x in share.items() if x == least})
    part.update({key: "train" for key, x in share.items() if x == most})
    return {split: [item for item in items if part[item.key] == split] for split in SPLITS}


def _share(key: str) -> float:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=6).digest(), "big") / 2**48


def _stated(root: Path) -> tuple[Path, dict[str, list[str]]] | None:
    for path, name in ((root / "splits.json", ""), (root.parent / "splits.json", root.name)):
        if not path.is_file():
            continue
        content = read_json(path)
        lists = content.get(root.name, content if not name else None) if isinstance(content, dict) else None
        if lists is None and name:
            continue
        if not isinstance(lists, dict) or not all(isinstance(keys, list) for keys in lists.values()):
            raise DataError(f'{path} must say {{"train": [stems], "val": [...], "test": [...]}}.')
        return path, {FOLDER_NAMES.get(split, split): [str(key) for key in keys] for split, keys in lists.items()}
    return None
