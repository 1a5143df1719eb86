"""Runs of a study side by side, a core each, with a line of JSON for each that is done."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

Row = Mapping[str, Any]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def each(work: Callable[..., Row], calls: Iterable[Sequence[Any]], jobs: int | None = None) -> Iterable[Row]:
    """What `work(*call)` gives, as it comes, on `jobs` cores. The first error ends all that has not begun yet."""
    for _, row in when_ready((Task(str(i), work, call) for i, call in enumerate(calls)), jobs):
        yield row


class Task(NamedTuple):
    """`work(*call)`, which makes a folder, or what it is known by, of what other tasks make or what is there."""

    makes: Path | str
    work: Callable[..., Any]
    call: Sequence[Any]
    needs: Sequence[Path | str] = ()


def when_ready(tasks: Iterable[Task], jobs: int | None = None) -> Iterator[tuple[Task, Any]]:
    """Tasks with what they give, on `jobs` cores: each once what it needs is made, among those the first listed first.

    What several make is made once, folders that are there are not. The first error ends all that has not begun yet.
    """
    known = {task.makes: task for task in reversed(list(tasks)) if not _there(task.makes)}
    listed = list(reversed(known.values()))
    place = {task.makes: i for i, task in enumerate(listed)}
    order = TopologicalSorter({i: [place[need] for need in t.needs if need in place] for i, t in enumerate(listed)})
    order.prepare()
    ready: list[int] = []
    running: dict[Future[Any], int] = {}
    jobs = jobs or os.cpu_count() or 1
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _one_thread) as pool:
        while order.is_active():
            for i in order.get_ready():
                heappush(ready, i)
            while ready and len(running) < jobs:
                task = listed[i := heappop(ready)]
                running[pool.submit(task.work, *task.call)] = i
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                i = running.pop(future)
                yield listed[i], future.result()
                order.done(i)


def _there(made: Path | str) -> bool:
    return isinstance(made, Path) and made.exists()


def append(path: Path, row: Row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
