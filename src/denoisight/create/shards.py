"""A list of sources -> slices -> shards of created pairs; the same command goes on after whatever stopped it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..annotations import Sample
from ..data.archive import sha256_of, write_archive
from ..data.files import write_annotation
from ..data.images import write_image
from ..data.info import read_json
from ..data.paired import facts_of, write_facts
from ..data.shards import ENDINGS, ShardLine, line_path, read_line
from ..errors import UsageError
from ..runtime import mend, versions, whole_file, write_json, write_text
from .pairs import Made, Maker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slices:
    """How many sources there are, and how many go into a shard: all images of one source lie in one shard."""

    num_sources: int
    per_shard: int

    @classmethod
    def of(cls, maker: Maker, shard_size: int = 100) -> Slices:
        """Shards of about `shard_size` images."""
        if shard_size < 1:
            raise UsageError(f"A shard size of {shard_size} was asked for; give 1 or more.")
        return cls(len(maker.source), max(shard_size // maker.variation.per_image, 1))

    def __len__(self) -> int:
        return -(-self.num_sources // self.per_shard)

    def sources(self, shard: int) -> range:
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.num_sources))

    def share(self, worker: int, num_workers: int) -> range:
        """The shards of one of so many workers. Raises `UsageError` for a worker that is none of them."""
        if not 0 <= worker < num_workers:
            raise UsageError(f"Shard {worker} of {num_workers} was asked for; give 0 to {num_workers - 1}.")
        return range(worker, len(self), num_workers)


def archive_path(folder: Path, shard: int) -> Path:
    return folder / f"created-{shard:06d}.tar"


def settings_of(maker: Maker, slices: Slices) -> dict[str, Any]:
    return {**maker.settings, "sources_per_shard": slices.per_shard}


def hash_of(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def write_shards(maker: Maker, folder: Path | str, slices: Slices, shards: Sequence[int]) -> Iterator[ShardLine]:
    """Make what is missing of these shards, and yield the line of each, whether it was there or is made now.

    A shard is there when its line is, of these settings, and the archive has the bytes that the line tells of; an
    archive without a line, or another than its line says, is made again. Raises `UsageError` where the folder holds
    shards of other settings, `DataError` where nothing more can be written; finished shards stay.
    """
    folder = Path(folder)
    settings = settings_of(maker, slices)
    refuse_others(folder, settings)
    for shard in shards:
        line = _finished(archive_path(folder, shard), hash_of(settings))
        yield line or _write_shard(maker, folder, slices, shard, settings)


def _finished(archive: Path, settings: str) -> ShardLine | None:
    """The line of a shard that is whole, after a look at all its bytes."""
    line = read_line(archive)
    if line is None or line.settings != settings or not line.is_whole(archive.parent):
        return None
    if sha256_of(archive) != line.sha256:
        log.warning("%s is not what it was when it was written; it is made again.", archive)
        return None
    return line


def _write_shard(maker: Maker, folder: Path, slices: Slices, shard: int, settings: dict[str, Any]) -> ShardLine:
    """The line is written last: whatever stops the writing before leaves a shard that is made again."""
    archive, sources = archive_path(folder, shard), slices.sources(shard)
    mend(folder, f".{archive.stem}.*")
    line_path(archive).unlink(missing_ok=True)
    facts: list[Sample] = []
    counts, dropped = Counter[str](), dict[str, str]()

    def kept() -> Iterator[tuple[str, bytes]]:
        for made in maker.make(sources):
            if made.sample.truths and not facts:
                facts.append(made.sample)
                write_facts(folder, facts_of(made.sample, False, settings))
            counts[made.verdict.kind] += 1
            if made.verdict.kind == "drop":
                dropped[made.sample.key] = made.verdict.reason
            else:
                yield from _files(made, archive.with_name(f".{archive.stem}.{os.getpid()}.tmp"))

    with whole_file(archive) as temporary:
        write_archive(temporary, kept())
        num_bytes, digest = temporary.stat().st_size, sha256_of(temporary)
    line = ShardLine(
        name=archive.name,
        pairs=counts["keep"] + counts["mask"],
        made=counts.total(),
        masked=counts["mask"],
        dropped=dropped,
        sources=(sources.start, sources.stop),
        num_bytes=num_bytes,
        sha256=digest,
        settings=hash_of(settings),
        versions=versions(),
    )
    write_text(line_path(archive), json.dumps(line.model_dump(mode="json"), indent=2) + "\n")
    return line


def _files(made: Made, stage: Path) -> list[tuple[str, bytes]]:
    """The members of a pair: its picture, its truths by name, and what it is."""
    number = f"{made.number:08d}"
    stage.mkdir(parents=True, exist_ok=True)
    try:
        paths = [write_image(stage / f"{number}.rgb.png", made.sample.image)]
        for truth, annotation in sorted(made.sample.truths.items()):
            paths += write_annotation(stage, f"{number}.{ENDINGS.get(truth, truth)}", annotation)
        paths.append(stage / f"{number}.json")
        write_json(paths[-1], made.facts)
        return [(path.name, path.read_bytes()) for path in paths]
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def refuse_others(folder: Path, settings: dict[str, Any]) -> None:
    """Raises `UsageError` where the folder holds what was made otherwise, naming what differs, or what is not ours."""
    path = folder / "dataset_info.json"
    if not path.is_file():
        if folder.is_dir() and any(not each.name.startswith(".") for each in folder.iterdir()):
            raise UsageError(f"{folder} holds files that are not ours; choose an empty folder.")
        return
    there, asked = _flat(read_json(path).get("source", {})), _flat(settings)
    if differing := [name for name in asked | there if there.get(name) != asked.get(name)]:
        name = differing[0]
        raise UsageError(
            f"{folder} was made with {name} {there.get(name)}, not {asked.get(name)}"
            f"{f' (and {len(differing) - 1} other settings differ)' if len(differing) > 1 else ''}; "
            "call it as before to go on, or choose another folder."
        )


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    nested = {f"{before}{name}": value for name, value in settings.items()}
    inner = [_flat(value, f"{name}.") for name, value in nested.items() if isinstance(value, dict)]
    return {n: v for n, v in nested.items() if not isinstance(v, dict)} | {
        n: v for part in inner for n, v in part.items()
    }
