"""`denoisight data validate`: every bad item of a folder, not only the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..annotations import Depth, Labels, Mask, Normals
from ..errors import DataError, pick
from .archive import FilePath
from .arrays import ARRAY_SUFFIXES, read_array
from .images import read_image
from .info import DatasetInfo
from .problem import Problem
from .readers import READERS, Reader
from .readers.folder import no_pairs, read_truth
from .readers.layout import Index, Item
from .readers.splits import divide, indices


def validate(folder: Path | str, reader: str | None = None) -> list[Problem]:
    """All that is wrong with a folder of pictures and truths; an empty list says that everything can be used.

    `reader` names the format to read it by; by default the first that recognises the folder. Raises
    `DataError` where there is no folder at all.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no folder {root}; check the path.")
    try:
        recognised = (format for format in READERS.values() if format.recognises(root))
        format = pick(READERS, reader, "reader") if reader else next(recognised)
        if format.info is None:
            return list(_unreadable(format.read(root, "all", ())))
        found, info = indices(root), format.info(root)
        if "" in found:
            divide(root, found[""].items)
    except DataError as error:
        return [_problem(error, root)]
    return list(_problems(root, found, info))


def _unreadable(reader: Reader) -> Iterator[Problem]:
    """Items that cannot be read, the first fault of each."""
    for index, key in enumerate(reader.keys):
        try:
            reader[index]
        except DataError as error:
            yield _problem(error, Path(key))


def _problems(root: Path, found: Mapping[str, Index], info: DatasetInfo) -> Iterator[Problem]:
    items = [item for index in found.values() for item in index.items]
    present = {truth for item in items for truth in item.truths} & set(info.kinds)
    for index in found.values():
        yield from index.faults
        for path in index.lonely:
            sentence = f"{path} has no picture of the same name"
            yield Problem(path, "missing pair", sentence, "add the picture or remove the truth")
    if not present:
        yield no_pairs(root, found)
        return
    for item in items:
        for truth in sorted(present - set(item.truths)):
            sentence = f"{item.image} has no {truth}, which others have"
            yield Problem(item.image, "missing pair", sentence, "add the truth or remove the picture")
        yield from _item_problems(item, sorted(present & set(item.truths)), info)


def _item_problems(item: Item, truths: list[str], info: DatasetInfo) -> Iterator[Problem]:
    size = None
    try:
        image = read_image(item.image)
        size = image.shape[-2], image.shape[-1]
    except DataError as error:
        yield _problem(error, item.image)
    for truth in truths:
        path = item.truths[truth].path
        try:
            annotation = read_truth(item, truth, info, size)
        except DataError as error:
            yield _problem(error, path)
            continue
        if _has_nan(path, truth, info):
            sentence = f"{path} has NaN or infinity"
            yield Problem(path, "NaN", sentence, "write 0 where nothing is known, or a validity beside it")
        unasked = item.phrases.get(truth) == ""
        if isinstance(annotation, Depth | Normals | Labels | Mask) and not annotation.valid.any() and not unasked:
            sentence = f"{path} has no valid pixel"
            yield Problem(path, "all invalid", sentence, "measure it again or remove the item")


def _has_nan(path: FilePath, truth: str, info: DatasetInfo) -> bool:
    """Whether an array holds numbers that are none, without a mask or a gauge that explains them."""
    by_format = info.kinds[truth] == "depth" and info.depth_gauge != "metres"
    if path.suffix not in ARRAY_SUFFIXES or by_format:
        return False
    values, valid = read_array(path, truth)
    return valid is None and not np.isfinite(values).all()


def _problem(error: DataError, file: FilePath) -> Problem:
    """The problem that an error carries, or one made of its message."""
    if error.args and isinstance(error.args[0], Problem):
        return error.args[0]
    sentence, _, remedy = str(error).rstrip(".").rpartition("; ")
    return Problem(file, "metadata", sentence, remedy)
