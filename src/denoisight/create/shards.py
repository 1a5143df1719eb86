"""A list of sources -> slices -> shards of created pairs; the same command goes on after whatever stopped it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.info import read_info
from ..data.paired import facts_of, refuse_unknown, write_facts
from ..data.readers.layout import METADATA
from ..data.shards import ShardLine, finished, hash_of, pair_members, write_shard
from ..errors import UsageError
from ..runtime import mend, versions
from .pairs import Maker


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


def write_shards(maker: Maker, folder: Path | str, slices: Slices, shards: Sequence[int]) -> Iterator[ShardLine]:
    """Make what is missing of these shards, and yield the line of each, whether it was there or is made now.

    A shard is there when its line is, of these settings, and the archive has the bytes that the line tells of; an
    archive without a line, or another than its line says, is made again. Raises `UsageError` where the folder holds
    shards of other settings, `DataError` where nothing more can be written; finished shards stay.
    """
    folder = Path(folder)
    settings = settings_of(maker, slices)
    refuse_others(folder, settings, METADATA)
    described = False
    for shard in shards:
        line = finished(archive_path(folder, shard), hash_of(settings))
        if not line and not described:
            describe(maker, folder, settings)
            described = True
        yield line or _make_shard(maker, folder, slices, shard, settings)


def describe(maker: Maker, folder: Path, settings: dict[str, Any]) -> None:
    """Write what the numbers mean and all settings, before anything else is in the folder: what is made first may be
    without labels, and the folder would not be known for ours."""
    for name in ("dataset_info", "classes"):
        mend(folder, f".{name}.*")
    write_facts(folder, facts_of(maker.example, maker.annotating.exact, settings))


def _make_shard(maker: Maker, folder: Path, slices: Slices, shard: int, settings: dict[str, Any]) -> ShardLine:
    archive, sources = archive_path(folder, shard), slices.sources(shard)
    counts, dropped = Counter[str](), dict[str, str]()

    def kept() -> Iterator[list[tuple[str, bytes]]]:
        for made in maker.make(sources):
            counts[made.verdict.kind] += 1
            if made.verdict.kind == "drop":
                dropped[made.sample.key] = made.verdict.reason
            else:
                yield pair_members(archive, made.number, made.sample, made.facts, maker.annotating.exact)

    def line(num_bytes: int, digest: str) -> ShardLine:
        return ShardLine(
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

    return write_shard(archive, kept(), line)


def refuse_others(folder: Path, settings: dict[str, Any], other: str) -> None:
    """Raises `UsageError` where the folder holds what was made otherwise, naming what differs, or what is not ours, or
    the same pairs in another form, of which a file is called as `other` says."""
    refuse_unknown(folder)
    if found := next(folder.glob(other), None):
        raise UsageError(f"{found} is of pairs in another --format; go on with that one, or choose another folder.")
    path = folder / "dataset_info.json"
    if not path.is_file():
        return
    there, asked = _flat(read_info(folder).source), _flat(settings)
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
