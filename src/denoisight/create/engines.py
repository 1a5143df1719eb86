"""Who makes the shards: this process its slice, or a Ray cluster all of them. The bytes are the same."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..data.shards import ShardLine, reasons, write_manifest
from ..errors import DenoisightError, UsageError, shortlist
from ..runtime import optional, world
from .pairs import Maker
from .shards import Slices, write_shards

log = logging.getLogger(__name__)

RETRIES = 3
"""How often an actor whose process died is started again, and how often the shard that it was at is begun again."""


def make_locally(
    maker: Maker, folder: Path | str, shard_size: int = 100, worker: int | None = None, num_workers: int | None = None
) -> list[ShardLine]:
    """Make this worker's shards, by default those of its rank as torchrun or SLURM tell it; returns their lines.

    What is finished stays, whatever happens, and is in the manifest unless the process is killed.
    """
    if worker is None or num_workers is None:
        worker, num_workers = world()
        if num_workers == 1 and int(os.environ.get("SLURM_ARRAY_TASK_COUNT", "1")) > 1:
            log.warning(
                "Each task of this SLURM array makes all shards; divide them with --num-shards "
                "$SLURM_ARRAY_TASK_COUNT --shard $SLURM_ARRAY_TASK_ID, counted from 0."
            )
    slices = Slices.of(maker, shard_size)
    shards = slices.share(worker, num_workers)
    return _followed(write_shards(maker, folder, slices, shards), Path(folder), len(shards))


def make_on_ray(
    open_maker: Callable[[], Maker], folder: Path | str, slices: Slices, num_workers: int = 2, gpus: bool = False
) -> list[ShardLine]:
    """Make all shards by actors that hold a maker each, on the cluster at RAY_ADDRESS, or on this machine.

    `open_maker` is called once in each actor, so the model, the source and the folder must be where the actors are,
    and be named by whole paths: a cluster's actors run in a folder of their own. With `gpus` an actor gets a GPU of the
    cluster or, where there are fewer than actors, a share of one; Ray hides them else. An actor whose process dies is
    started again and goes on with its shard. Raises `UsageError` for no workers, `MissingExtraError` without Ray, what
    an actor raises, and `DenoisightError` for one that dies again and again; finished shards stay.
    """
    if num_workers < 1:
        raise UsageError(f"{num_workers} workers were asked for; give 1 or more.")
    ray, pools = optional("ray", "ray"), optional("ray.util.actor_pool", "ray")
    begun = not ray.is_initialized()
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    try:
        count, threads = min(num_workers, len(slices)), torch.get_num_threads()
        there = ray.cluster_resources().get("GPU", 0) if gpus else 0
        options = {"max_restarts": RETRIES, "max_task_retries": RETRIES, "num_gpus": gpu_share(there, count)}
        actor = ray.remote(**options)(_Actor)
        actors = [actor.remote(open_maker, str(folder), slices, threads) for _ in range(count)]
        made = pools.ActorPool(actors).map_unordered(lambda each, shard: each.write.remote(shard), range(len(slices)))
        return _followed(map(ShardLine.model_validate, made), Path(folder), len(slices))
    except ray.exceptions.RayTaskError as error:
        # Ray's own has the traceback of another machine as its message.
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        raise DenoisightError(
            f"A worker died {RETRIES + 1} times; see that it has the memory (--batch, --workers), and the same command "
            "goes on."
        ) from error
    finally:
        if begun:
            ray.shutdown()


def gpu_share(gpus: float, actors: int) -> float:
    """What each of so many actors asks for: a whole GPU, or an equal share of one, since Ray gives no parts of two."""
    return math.floor(1e4 / math.ceil(actors / int(gpus))) / 1e4 if gpus >= 1 else 0.0


class _Actor:
    def __init__(self, open_maker: Callable[[], Maker], folder: str, slices: Slices, threads: int) -> None:
        torch.set_num_threads(threads)
        self.open_maker, self.folder, self.slices = open_maker, folder, slices

    @cached_property
    def maker(self) -> Maker:
        """Opened when it is first needed: what this raises comes in its own words, what `__init__` raises does not."""
        return self.open_maker()

    def write(self, shard: int) -> dict[str, Any]:
        (line,) = write_shards(self.maker, self.folder, self.slices, [shard])
        return line.model_dump()


def _followed(lines: Iterator[ShardLine], folder: Path, count: int) -> list[ShardLine]:
    """The lines as they come, each told of; the manifest is written at the end, whatever ends it."""
    done, begun = list[ShardLine](), time.monotonic()
    try:
        for line in lines:
            done.append(line)
            pace = (time.monotonic() - begun) / len(done)
            lost = shortlist(f"{n} {reason}" for reason, n in reasons([line]).items())
            log.info(
                "shard %d/%d %s: %d pairs, %d dropped%s, ETA %.0f s",
                *(len(done), count, line.name, line.pairs, len(line.dropped), f" ({lost})" if lost else ""),
                pace * (count - len(done)),
            )
        return done
    finally:
        if done:
            write_manifest(folder)
