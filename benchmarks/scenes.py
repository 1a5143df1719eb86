"""How many scenes a second one core makes, with all truths and the caption, at several sizes.

    OMP_NUM_THREADS=1 python benchmarks/scenes.py [seconds per size]

First checks that what is timed is right: items are the same alone, in a batch, and in another order.
The fastest of three runs counts, since other programs on the machine can only slow them.
"""

import os
import sys
import time

import torch

from denoisight.annotations import Batch
from denoisight.data.scenes import VERSION, Scenes

SIZES = (64, 128, 256)
GOAL = {64: 100}
"""Scenes a second, at least."""


def check() -> None:
    scenes = Scenes("train")
    batch = Batch.of([scenes[i] for i in range(8)])
    for i in reversed(range(8)):
        alone = Scenes("train", num=8)[i]
        assert torch.equal(alone.image, batch.images[i])
        for name, truth in alone.truths.items():
            for field, values in truth.tensors().items():
                assert torch.equal(values, batch.truths[name].tensors()[field][i]), (name, field)


def rate(size: int, seconds: float) -> float:
    """Scenes made per second of processor time; waiting for other programs does not count."""
    scenes = Scenes("train", size=(size, size))
    scenes[0]
    start, i = time.process_time(), 0
    while time.process_time() - start < seconds:
        i += 1
        scenes[i]
    return i / (time.process_time() - start)


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    torch.set_num_threads(1)
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    print(f"{VERSION}, OMP_NUM_THREADS={threads}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    check()
    missed = False
    for size in SIZES:
        speed = max(rate(size, seconds / 3) for _ in range(3))
        missed |= speed < GOAL.get(size, 0)
        goal = f" (at least {GOAL[size]})" if size in GOAL else ""
        print(f"{size}x{size}: {speed:6.1f} scenes/s per core{goal}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
