"""Our own folder of pictures with truths, which Hugging Face `datasets` opens as an imagefolder too.

rgb/000001.png  depth/000001.png  normals/000001.npz  semantic/000001.png  ...
metadata.jsonl      a line per item: key, file_name, text; depth_file_name, ... name pictures (16-bit depth is
                    one), depth_exact, normals_exact, ... files that are none; mask_text the words that the mask
                    answers to
classes.json        the class names of label truths
dataset_info.json   units, kinds, and where the samples are from

An item's line is added once all its files are whole, so that whatever interrupts the writing leaves a
shorter folder, not a broken one. `readers/folder.py` reads it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..annotations import Depth, Labels, Sample
from ..errors import DataError, UsageError
from ..runtime import append_line, mend, whole_file, write_json
from .files import kind_of, write_annotation
from .images import write_image
from .info import read_json
from .readers.layout import METADATA

log = logging.getLogger(__name__)

AND = "; "
"""Between several values in one column."""


def write_pairs(
    samples: Iterable[Sample],
    folder: Path | str,
    *,
    exact: bool = False,
    source: Mapping[str, Any] | None = None,
    columns: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """Write samples to `folder`, going on where an earlier call stopped; return how many lie there then.

    Pictures are rounded to 8 bits, metric depth to millimetres unless `exact`. `source` says where the
    samples are from, `columns` by a sample's key what its line says besides. Samples whose key is already
    written are passed over. Raises `UsageError` where the folder was written with another source or other
    truths, and `DataError` where a key comes twice or nothing more can be written; finished items stay.
    """
    folder = Path(folder)
    earlier, seen = written(folder), set[str]()
    count = len(earlier)
    for sample in samples:
        if sample.key in seen:
            raise DataError(f"Two samples have the key {sample.key!r}; give each its own.")
        seen.add(sample.key)
        if len(seen) == 1:
            write_facts(folder, facts_of(sample, exact, source or {}))
            drop_cut_off_line(folder / METADATA)
        if sample.key not in earlier:
            count += 1
            row = write_pair(folder, f"{count:06d}", sample, exact)
            append_line(folder / METADATA, {**(columns or {}).get(sample.key, {}), **row})
    if count > len(earlier):
        mend(folder)
    return count


def write_pair(folder: Path, number: str, sample: Sample, exact: bool = False) -> dict[str, Any]:
    """Write the files of one sample, all or none, and return its line of `metadata.jsonl`."""
    files: dict[str, Path] = {}
    try:
        files["file_name"] = write_image(folder / "rgb" / f"{number}.png", sample.image)
        for truth, annotation in sample.truths.items():
            for path in write_annotation(folder / truth, number, annotation, exact):
                files[f"{truth}_file_name" if path.suffix == ".png" else f"{truth}_exact"] = path
    except BaseException:
        for name in ("rgb", *sample.truths):
            for path in folder.glob(f"{name}/{number}.*"):
                path.unlink()
        raise
    columns = {column: path.relative_to(folder).as_posix() for column, path in files.items()}
    phrases = {f"{truth}_text": words for truth, words in sample.phrases.items() if truth in sample.truths}
    return {"key": sample.key, **columns, "text": sample.query.text, **phrases}


def written(folder: Path | str) -> set[str]:
    """The keys of the items that are whole in `folder`; a last line that was cut off does not count."""
    path = Path(folder) / METADATA
    if not path.is_file():
        return set()
    try:
        return {json.loads(line)["key"] for line in path.read_bytes().split(b"\n")[:-1]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has lines that are not ours; choose another folder.") from error


def facts_of(sample: Sample, exact: bool, source: Mapping[str, Any]) -> dict[str, Any]:
    """What `dataset_info.json` and `classes.json` say, taken from the first sample."""
    truths = sample.truths.items()
    gauges = {a.gauge for _, a in truths if isinstance(a, Depth)}
    info = {
        "depth_scale": 1000,
        "depth_gauge": gauges.pop() if gauges else "metres",
        "normals_frame": "opengl",
        "kinds": {truth: kind_of(annotation) for truth, annotation in truths},
        "exact": exact,
        "source": dict(source),
    }
    classes = {t: {"classes": list(a.classes)} for t, a in truths if isinstance(a, Labels) and a.classes}
    return {"dataset_info.json": info, **({"classes.json": classes} if classes else {})}


def refuse_unknown(folder: Path) -> None:
    """Raises `UsageError` where a folder holds files, but nothing that says what they are."""
    # In this order, since another process may begin in between.
    holds = folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())
    if holds and not (folder / "dataset_info.json").is_file():
        raise UsageError(f"{folder} holds files that are not ours; choose an empty folder.")


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    refuse_unknown(folder)
    for name, content in facts.items():
        path = folder / name
        if path.is_file() and read_json(path) != json.loads(json.dumps(content)):
            raise UsageError(f"{path} is from other data; choose another folder, or remove this one to start again.")
        write_json(path, content)


def columns_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance in single values, as columns of `metadata.jsonl` are: "confidence" of depth is "confidence_depth"."""
    columns: dict[str, Any] = {}
    for name, value in facts.items():
        match value:
            case dict():
                columns |= {f"{name}_{part}": single for part, single in value.items()}
            case list():
                columns[name] = AND.join(value)
            case _:
                columns[name] = value
    return columns


def drop_cut_off_line(path: Path) -> None:
    if path.is_file():
        whole, newline, last = path.read_bytes().rpartition(b"\n")
        if last:
            with whole_file(path) as temporary:
                temporary.write_bytes(whole + newline)


def tell_progress(done: int, count: int, every: int = 1) -> None:
    """Log how far it has come, at the end and about every thousand; it is called after each `every`."""
    if done == count or done % max(every, 1000 // every * every) == 0:
        log.info("%d/%d samples", done, count)
