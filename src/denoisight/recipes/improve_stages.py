"""The stages of an improvement: each is done once, in a folder of its own, and what it cost is written down."""

from __future__ import annotations

import json
import logging
import math
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..create.pairs import Maker
from ..create.shards import Slices, write_shards
from ..data.shards import reasons, write_manifest
from ..runtime import item_seed, write_text
from ..train.run import Interrupted
from .base import Recipe, override
from .create import check_made
from .launch import train

log = logging.getLogger(__name__)

FEW = 10
"""Sources that a shard is made from, so that creating can end in good time."""
BEAT = 5.0
"""Seconds after which it is written down again how far a stage is, in case that the process is killed."""


class Passes(Counter[str]):
    """How many images, or latents, networks were asked about. `tell` is called as it grows, every `BEAT` seconds."""

    due: float = math.inf
    tell: Callable[[], object] = time.monotonic  # until who waits for news says what to call

    def update(self, *counts: Any, **more: Any) -> None:
        super().update(*counts, **more)
        if time.monotonic() > self.due:
            self.due = time.monotonic() + BEAT
            self.tell()


class Stages:
    """Runs what is not done yet in `out`, within `max_time` seconds where there are any, and writes down each stage's
    wall time, counts and peak memory in `out/stages.jsonl`. A stage that was stopped keeps what it took by then; of
    one that was killed a few seconds may be missing."""

    def __init__(self, out: Path, max_time: float | None, quiet: bool = False) -> None:
        self.out, self.max_time, self.quiet = out, max_time, quiet
        path = out / "stages.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.lines = {line["stage"]: line for line in map(json.loads, lines)}

    @property
    def done(self) -> list[dict[str, Any]]:
        return [line for line in self.lines.values() if not line.get("stopped")]

    def left(self, but: str = "") -> float:
        """Seconds of the time that is allowed, at least one; what the stage `but` took is not taken off."""
        spent = sum(line["seconds"] for name, line in self.lines.items() if name != but)
        return max((self.max_time or 0.0) - spent, 1.0)

    def train(self, name: str, recipe: Recipe, share: float) -> Path:
        """A training in `out/name`, in this share of the time that is left, or in its own time."""
        folder = self.out / name
        if self.max_time:
            # A training that goes on knows itself how long it has taken.
            left = self.left(but=name)
            limit = left * share if recipe.max_seconds is None else min(left, recipe.max_seconds)
            recipe = override(recipe, {"max_time": f"{max(limit, 1.0):.0f}s"})
        begun, passes = (folder / "config.yaml").is_file(), self._passes(name)
        within, resume = partial(counted, passes=passes), "latest" if begun else None

        def work() -> dict[str, Any]:
            try:
                done = train(recipe, folder, resume=resume, overwrite=not begun, quiet=self.quiet, within=within)
            except Interrupted as stop:
                raise stop.told("go on with the same command") from None
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            steps = max((json.loads(line)["step"] for line in lines), default=0)
            return {"steps": steps, "images": steps * recipe.images_per_step, "best_step": done.best.get("step")}

        self.run(name, work, passes)
        return folder

    def create(self, name: str, make: Callable[[], Maker], share: float) -> Path:
        """Shards of created pictures in `out/name`; with a time limit as many as fit into this share of the rest."""
        folder = self.out / name
        passes = self._passes(name)

        def work() -> dict[str, Any]:
            until, maker, lines = time.monotonic() + self.left() * share, make(), []
            slices = Slices.of(maker, FEW * maker.variation.per_image)
            with counted(maker.model.parts.backbone.unet, passes):
                for line in write_shards(maker, folder, slices, _everywhere(len(slices))):
                    lines.append(line)
                    if self.max_time and time.monotonic() > until:
                        break
            write_manifest(folder)
            made, pairs = sum(line.made for line in lines), sum(line.pairs for line in lines)
            check_made(pairs, reasons(lines))
            return {"made": made, "pairs": pairs, "dropped": reasons(lines)}

        self.run(name, work, passes)
        return folder

    def judge(self, name: str, look: Callable[[Passes], dict[str, Any]]) -> None:
        """A look at what was created; it counts what networks are asked about."""
        passes = self._passes(name)
        self.run(name, lambda: look(passes), passes)

    def _passes(self, name: str) -> Passes:
        """Of a stage so far."""
        return Passes(images=self.lines.get(name, {}).get("network_passes", 0))

    def run(self, name: str, work: Callable[[], dict[str, Any]], passes: Passes | None = None) -> dict[str, Any]:
        """Do it, unless it is done, and what is told of it; `passes`, which it counts, of one that is stopped, too."""
        before = self.lines.get(name, {"seconds": 0.0, "stopped": True})
        if not before.get("stopped"):
            log.info("%s is done already.", name)
            return before
        log.info("Stage %s.", name)
        _forget_peak()
        began = time.monotonic()
        told: dict[str, Any] = {"stopped": True}

        def note() -> None:
            seconds = before["seconds"] + time.monotonic() - began
            counts = {} if passes is None else {"network_passes": passes["images"]}
            self.lines[name] = {"stage": name, "seconds": round(seconds, 1), **counts, **told, "peak_mb": _peak_mb()}
            write_text(self.out / "stages.jsonl", "".join(json.dumps(line) + "\n" for line in self.lines.values()))

        if passes is not None:
            passes.tell, passes.due = note, began + BEAT
        try:
            told = work()
        finally:
            note()
        return self.lines[name]


def _everywhere(count: int) -> list[int]:
    """Numbers below `count` in an order in which the first few are from all over."""
    return sorted(range(count), key=lambda number: item_seed(0, str(number)))


@contextmanager
def counted(unet: nn.Module, passes: Counter[str]) -> Iterator[None]:
    """Adds to `passes["images"]` how many images, or latents, a network is asked about within the block."""
    handle = unet.register_forward_hook(lambda *call: passes.update(images=len(call[-1][0])))
    try:
        yield
    finally:
        handle.remove()


def _forget_peak() -> None:
    """Where the system lets a process do so (Linux: proc(5), clear_refs), its peak begins anew."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> int:
    """Of this process since `_forget_peak`, or so far where it could not forget; on a GPU of its memory there."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    try:
        told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(told["VmHWM"].split()[0]) // 2**10
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
