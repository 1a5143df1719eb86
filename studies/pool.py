"""Runs of a study side by side, a core each, with a line of JSON for each that is done."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def each(work: Callable[..., Row], calls: Iterable[Sequence[Any]], jobs: int | None = None) -> Iterable[Row]:
    """What `work(*call)` gives, as it comes, on `jobs` cores. The first error ends all that has not begun yet."""
    with ProcessPoolExecutor(jobs or os.cpu_count(), multiprocessing.get_context("spawn"), _one_thread) as pool:
        for finished in as_completed([pool.submit(work, *call) for call in calls]):
            if finished.exception():
                pool.shutdown(wait=False, cancel_futures=True)
            yield finished.result()


def append(path: Path, row: Row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
