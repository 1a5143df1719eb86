"""Training batches as a function of (seed, step) alone: any step can be made again, in any process."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch.utils.data import DataLoader, Dataset

from ..annotations import Batch, Sample
from ..data.augment import Augment, fit
from ..data.readers import Reader
from ..data.unlabelled import Joined
from ..runtime import generator

ENDLESS = 1_000_000
"""From this many items on, the order is left as it is: nothing is seen twice, so nothing needs shuffling."""


class Stream(Dataset):
    """Item (step, slot) of an endless walk over a reader: every epoch a new permutation, every visit new augmentation.
    An item of few that a batch holds several times has other names then, so that all else that is drawn differs, too.

    Two readers that are joined are walked over each by itself, so that every batch holds both: of the first at least
    its share. Items of small data sets are kept decoded, up to `cache_gb`, and at their last size where nothing is cut.
    """

    def __init__(
        self,
        reader: Reader,
        truths: Sequence[str],
        size: tuple[int, int],
        augment: Augment,
        batch: int,
        seed: int,
        cache_gb: float = 1.0,
    ) -> None:
        self.reader = reader
        self.truths = tuple(truths)
        self.size = size
        self.augment = augment
        self.batch = batch
        self.seed = seed
        self.room = int(cache_gb * 1e9)
        self.kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        step, slot = place
        index, again = self._index(step, slot)
        sample = self._read(index)
        if again:
            sample = replace(sample, query=replace(sample.query, key=f"{sample.key} again {again}"))
        draw = generator(self.seed, sample.key, step)
        return fit(self.augment(sample, draw), self.size)

    def _index(self, step: int, slot: int) -> tuple[int, int]:
        """An item, and how often the batch has seen all others since. The first slots of a batch are of the first of
        two readers, so that every rank's slice holds both."""
        whole = len(self.reader)
        if not isinstance(self.reader, Joined) or self.reader.ends[0] == whole:
            return self._turn(step * self.batch, slot, whole, "")
        first = self.reader.ends[0]
        share = max(first / whole, self.reader.share)
        before, after = (int(turn * self.batch * share) for turn in (step, step + 1))
        if slot < after - before:
            return self._turn(before, slot, first, "")
        index, again = self._turn(step * self.batch - before, slot - (after - before), whole - first, "beside")
        return first + index, again

    def _turn(self, begin: int, place: int, count: int, which: str) -> tuple[int, int]:
        """Of `count` items the one whose turn it is, so many places after the step's first."""
        position = begin + place
        if count >= ENDLESS:
            return position % count, 0
        return _order(self.seed, position // count, count, which)[position % count], place // count

    def _read(self, index: int) -> Sample:
        if index in self.kept:
            return self.kept[index]
        sample = self.reader[index]
        sample = sample.only(self.truths)
        if self.augment.crop == 1:
            # The mirror image is then that of the picture as it is seen, to the pixel.
            sample = fit(sample, self.size)
        size = sum(t.nbytes for truth in sample.truths.values() for t in truth.tensors().values())
        size += sample.image.nbytes
        if len(self.reader) < ENDLESS and size <= self.room:
            self.room -= size
            self.kept[index] = sample
        return sample


@dataclass(frozen=True)
class Steps:
    """Which items each batch of some steps holds, told as they are asked for: a run may have millions of steps."""

    steps: range
    slots: range

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(step, slot) for slot in self.slots] for step in self.steps)


def batches(
    stream: Stream, start: int, stop: int, workers: int, rank: int = 0, ranks: int = 1
) -> Generator[Batch, None, None]:
    """The batches of steps `start` to `stop`; each of several ranks takes its slice of every batch.

    Closing the generator ends its reading processes.
    """
    loader = DataLoader(
        stream,
        batch_sampler=Steps(range(start, stop), range(rank, stream.batch, ranks)),
        num_workers=workers,
        collate_fn=Batch.of,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )
    with _held_back(signal.SIGTERM, signal.SIGINT):
        ahead = iter(loader)
    yield from ahead


@contextmanager
def _held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Signals that come within the block are answered after it, and never by the processes that it starts.

    Schedulers and terminals signal every process of a job at once; only the run shall answer.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int, which: str) -> list[int]:
    return torch.randperm(count, generator=generator(seed, f"epoch{which}", epoch)).tolist()
