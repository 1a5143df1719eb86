"""The stages of an improvement: each is done once, in a folder of its own, and what it cost is written down."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..create.pairs import Maker
from ..create.shards import Slices, write_shards
from ..data.shards import reasons, write_manifest
from ..runtime import write_text
from .base import Recipe, override
from .launch import train

log = logging.getLogger(__name__)

FEW = 10
"""Sources that a shard is made from, so that creating can end in good time."""


class Stages:
    """Runs what is not done yet in `out`, within `max_time` seconds where there are any, and writes down each stage's
    wall time, counts and peak memory in `out/stages.jsonl`. A stage that was stopped keeps what it took by then."""

    def __init__(self, out: Path, max_time: float | None, quiet: bool = False) -> None:
        self.out, self.max_time, self.quiet = out, max_time, quiet
        path = out / "stages.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.lines = {line["stage"]: line for line in map(json.loads, lines)}

    @property
    def done(self) -> list[dict[str, Any]]:
        return [line for line in self.lines.values() if not line.get("stopped")]

    def left(self) -> float:
        """Seconds of the time that is allowed."""
        spent = sum(line["seconds"] for line in self.lines.values())
        return max((self.max_time or 0.0) - spent, 1.0)

    def train(self, name: str, recipe: Recipe, share: float) -> Path:
        """A training in `out/name`, in this share of the time that is left."""
        folder = self.out / name
        if self.max_time and not recipe.max_time:
            recipe = override(recipe, {"max_time": f"{self.left() * share:.0f}s"})
        begun = (folder / "config.yaml").is_file()

        def work() -> dict[str, Any]:
            done = train(recipe, folder, resume="latest" if begun else None, overwrite=not begun, quiet=self.quiet)
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            steps = max((json.loads(line)["step"] for line in lines), default=0)
            return {"steps": steps, "images": steps * recipe.batch, "best_step": done.best.get("step")}

        self.run(name, work)
        return folder

    def create(self, name: str, make: Callable[[], Maker], share: float) -> Path:
        """Shards of created pictures in `out/name`; with a time limit as many as fit into this share of the rest."""
        folder = self.out / name

        def work() -> dict[str, Any]:
            until, maker, lines = time.monotonic() + self.left() * share, make(), []
            slices = Slices.of(maker, FEW * maker.variation.per_image)
            with counted(maker.model.parts.backbone.unet) as passes:
                for line in write_shards(maker, folder, slices, range(len(slices))):
                    lines.append(line)
                    if self.max_time and time.monotonic() > until:
                        break
            write_manifest(folder)
            made, pairs = sum(line.made for line in lines), sum(line.pairs for line in lines)
            return {"made": made, "pairs": pairs, "dropped": reasons(lines), "network_passes": passes["images"]}

        self.run(name, work)
        return folder

    def run(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do it, unless it is done, and what is told of it."""
        before = self.lines.get(name, {"seconds": 0.0, "stopped": True})
        if not before.get("stopped"):
            log.info("%s is done already.", name)
            return before
        log.info("Stage %s.", name)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        began, told = time.monotonic(), {"stopped": True}
        try:
            told = work()
        finally:
            seconds = before["seconds"] + time.monotonic() - began
            self.lines[name] = {"stage": name, "seconds": round(seconds, 1), **told, "peak_mb": _peak_mb()}
            write_text(self.out / "stages.jsonl", "".join(json.dumps(line) + "\n" for line in self.lines.values()))
        return self.lines[name]


@contextmanager
def counted(unet: nn.Module) -> Iterator[dict[str, int]]:
    """How many images, or latents, a network was asked about within the block."""
    passes = {"images": 0}
    handle = unet.register_forward_hook(lambda *call: passes.update(images=passes["images"] + len(call[-1][0])))
    try:
        yield passes
    finally:
        handle.remove()


def _peak_mb() -> int:
    """Of this process so far; on a GPU of its memory there in this stage."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
