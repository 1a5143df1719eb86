"""How many images a second one step of self-improvement learns from, here and as in the released code of Diff-2-in-1.

    OMP_NUM_THREADS=1 python benchmarks/self_improve.py [-o benchmarks/self_improve.json]
    OMP_NUM_THREADS=1 python benchmarks/self_improve.py --shape sd15 --res 128 --batch 4 --steps 2 --rounds 3 \
        [-o benchmarks/self_improve-sd15.json]

Three arms take whole steps (labels for created images, loss, gradient, optimizer, average) on the same batches, half of
each without truths, with heads for normals on the frozen network:

one pass    What the recipe self-improve does without mirror images: one look of the frozen network serves averaged and
            raw heads, in the recipe's precision.
two passes  What training_2nd_stage.py of the released code does (Zheng et al., ICLR 2025): for the teacher and for the
            learning heads alike autoencoder and network look at all images anew, in fp32, and nothing is kept. The
            teacher has weights of its own, which follow every ten steps. That it takes gradients there is left out,
            which flatters this arm.
cached      The first, where nothing is augmented: features are computed once for each image, in half precision.

The released code asks of no mirror image, so neither do these arms.

First it is checked, in fp32, that all arms give the same labels and the same loss. Then they take turns; the fastest
round of each counts, since other programs on the machine can only slow them. The cached arm's first epoch is told
beside. Ends with 1 where a promise is not kept.

Heads cost the same in all arms, so the smaller the network under them, the less there is to gain.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from denoisight.annotations import Batch
from denoisight.data.augment import fit
from denoisight.data.open import open_data
from denoisight.data.unlabelled import Unlabelled
from denoisight.models.folder import Parts
from denoisight.predict.model import task_of
from denoisight.predict.readout import features
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.improving import self_improve
from denoisight.recipes.self_teaching import average_of, self_taught
from denoisight.recipes.start import starting_parts
from denoisight.runtime import versions, write_json
from denoisight.tasks import Reading, Task
from denoisight.train.ema import trained
from denoisight.train.objectives import ReadoutObjective
from denoisight.train.optimizers import make_optimizer

PROMISE_ONE_PASS = 2.0
PROMISE_CACHED = 8.0
"""Times the images a second of two passes."""
ROUNDED, HALVED = 1e-4, 1e-2
"""So far may labels and, in shares of it, the loss be from those of two passes: sums are rounded in another order; or
features are kept in half precision."""
TEACHER = 1.1
"""What the teacher's weights are multiplied by, so that it answers otherwise than the learning heads would."""
RELEASED_EVERY, RELEASED_KEPT = 10, 0.998


class Ours:
    """The step that `denoisight train --recipe self-improve` takes."""

    def __init__(self, recipe: Recipe, parts: Parts, tasks: Sequence[Task], cache: int = 0) -> None:
        parts = replace(parts, heads=copy.deepcopy(parts.heads))
        self.module: nn.Module = ReadoutObjective(parts, tasks, cache).train()
        self.average = average_of(recipe, self.module)
        for weights in self.average.shadow_params:
            weights.mul_(TEACHER)
        self.taught = self_taught(recipe, self.module, parts, tasks, self.average)
        self.precision = recipe.precision

    def labels(self, batch: Batch) -> Mapping[str, Reading]:
        """Of the images without truths."""
        return self.taught.teacher(batch.take(batch.unlabelled), self.module.features, 0, 0)

    def loss(self, batch: Batch, step: int) -> Tensor:
        return self.taught(batch, seed=0, step=step)["loss"]

    def after(self, step: int) -> None:
        self.average.step(trained(self.module))


class TwoPasses:
    """The step that the released code takes."""

    precision = "fp32"

    def __init__(self, parts: Parts, tasks: Sequence[Task]) -> None:
        self.parts, self.tasks = parts, tasks
        self.module, self.teacher = copy.deepcopy(parts.heads).train(), copy.deepcopy(parts.heads).eval()
        with torch.no_grad():
            for weights in self.teacher.parameters():
                weights.mul_(TEACHER)

    @torch.no_grad()
    def look(self, batch: Batch) -> list[Tensor]:
        return features(self.parts, batch.images, batch.texts)

    @torch.no_grad()
    def answers(self, batch: Batch) -> Mapping[str, Reading]:
        """Of all images, though only those without truths need them."""
        outputs = self.teacher(self.look(batch), batch.images, [task.name for task in self.tasks])
        return {task.truth: task.head.read(outputs[task.name], batch.images) for task in self.tasks}

    def labels(self, batch: Batch) -> Mapping[str, Reading]:
        asked = torch.tensor(batch.unlabelled, device=batch.images.device)
        return {name: Reading(reading.annotation[asked], None) for name, reading in self.answers(batch).items()}

    def loss(self, batch: Batch, step: int) -> Tensor:
        told = self.answers(batch)
        outputs = self.module(self.look(batch), batch.images, [task.name for task in self.tasks])
        asked = batch.unlabelled
        known = [place for place in range(len(batch)) if place not in asked]
        losses = []
        for task in self.tasks:
            for places, truth in ((known, batch.truths[task.truth]), (asked, told[task.truth].annotation)):
                at = torch.tensor(places, device=batch.images.device)
                losses.append(len(places) * task.head.loss(outputs[task.name][at], truth[at], batch.images[at]))
        return torch.stack(losses).sum() / len(batch) / len(self.tasks)

    @torch.no_grad()
    def after(self, step: int) -> None:
        if step % RELEASED_EVERY == 0:
            for kept, new in zip(self.teacher.parameters(), self.module.parameters(), strict=True):
                kept.lerp_(new, 1 - RELEASED_KEPT)


def made_arms(recipe: Recipe, batches: int) -> tuple[dict[str, Ours | TwoPasses], list[Batch]]:
    """The arms, which begin with the same heads, and batches for them."""
    torch.manual_seed(recipe.seed)
    size = (recipe.res,) * 2
    half = recipe.batch // 2
    real = open_data(f"scenes:{batches * (recipe.batch - half)}", "train", ["normals"], size=size)
    made = Unlabelled(open_data(f"scenes:{batches * half}", "val", size=size, annotated=False), real)
    parts = starting_parts(recipe, real)
    parts.backbone.requires_grad_(False)
    parts.modules().to(recipe.device)
    tasks = tuple(task_of(entry) for entry in parts.config.reads)
    truths = [task.truth for task in tasks]
    fitting = parts.backbone.fitting_size(*size, parts.config.resolution)

    def some(reader: Unlabelled | object, count: int, which: int) -> list:
        return [fit(reader[which * count + i].only(truths), fitting) for i in range(count)]  # type: ignore[index]

    mixed = [Batch.of(some(real, recipe.batch - half, i) + some(made, half, i)) for i in range(batches)]
    arms = {
        "one pass": Ours(recipe, parts, tasks),
        "two passes": TwoPasses(parts, tasks),
        "cached": Ours(recipe, parts, tasks, int(recipe.cache_gb * 1e9)),
    }
    return arms, [batch.to(recipe.device) for batch in mixed]


def differences(arm: Ours | TwoPasses, other: Ours | TwoPasses, batch: Batch) -> tuple[float, float]:
    """How far two arms' labels are from each other at most, and their losses, in shares of the other's; in fp32."""
    mine, theirs = (
        [values.float() for reading in one.labels(batch).values() for values in reading.annotation.tensors().values()]
        for one in (arm, other)
    )
    apart = max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True))
    loss, reference = float(arm.loss(batch, 0).detach()), float(other.loss(batch, 0).detach())
    return apart, abs(loss - reference) / abs(reference)


def check(arms: Mapping[str, Ours | TwoPasses], batch: Batch) -> None:
    """Raises `AssertionError` where an arm does not do the same work."""
    for name, room in (("one pass", ROUNDED), ("cached", HALVED)):
        labels, loss = differences(arms[name], arms["two passes"], batch)
        print(f"{name}: labels within {labels:.1e} and loss within {loss:.1e} of two passes (allowed: {room:g})")
        if max(labels, loss) > room:
            raise AssertionError(f"{name} does other work than two passes; a comparison of times means nothing")


def seconds(arm: Ours | TwoPasses, optimizer: torch.optim.Optimizer, batches: Sequence[Batch], clip: float) -> float:
    """For a step on each of the batches."""
    device = batches[0].images.device
    began = time.perf_counter()
    for step, batch in enumerate(batches):
        with torch.autocast(device.type, torch.bfloat16, enabled=arm.precision == "bf16"):
            loss = arm.loss(batch, step)
        loss.backward()
        nn.utils.clip_grad_norm_(arm.module.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        arm.after(step)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> int:
    args = _arguments()
    if args.shape:
        import shapes  # beside this file, which others load without its folder

        args.model = str(shapes.sd15(Path("runs") / "shapes" / args.shape))
    own = ("steps", "rounds", "shape", "out")
    changes = {name: value for name, value in vars(args).items() if name not in own and value}
    beside = {"pictures": "scenes:8", "mirror": False}
    recipe = override(self_improve(("normals",), "scenes:8"), {**changes, "self_teaching": beside})
    arms, batches = made_arms(recipe, args.steps)
    where = f"{recipe.device}, {torch.get_num_threads()} threads of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    print(f"{recipe.model} at {recipe.res} px, batch {recipe.batch}, one pass in {recipe.precision}; {where}")
    check(arms, batches[0])
    optim = recipe.optim
    rules = (optim.lr, optim.beta2, optim.weight_decay)
    optimizers = {name: make_optimizer(optim.name, arm.module, *rules) for name, arm in arms.items()}
    images = args.steps * recipe.batch
    cached = arms["cached"]
    assert isinstance(cached, Ours) and isinstance(cached.module, ReadoutObjective)
    cached.module.cache.kept.clear()  # type: ignore[union-attr]
    first = seconds(cached, optimizers["cached"], batches, optim.clip)
    best = dict.fromkeys(arms, float("inf"))
    for _ in range(args.rounds):
        for name, arm in arms.items():
            best[name] = min(best[name], seconds(arm, optimizers[name], batches, optim.clip))
    for name, took in best.items():
        print(f"{name:10} {images / took:8.1f} images/s, {best['two passes'] / took:5.2f} times two passes")
    print(f"cached, its first epoch {images / first:.1f} images/s, {first - best['cached']:.2f} s more for {images}")
    promises = {"one pass": PROMISE_ONE_PASS, "cached": PROMISE_CACHED}
    broken = {name: ratio for name in promises if (ratio := best["two passes"] / best[name]) < promises[name]}
    for name, ratio in broken.items():
        print(f"NOT KEPT: {name} is {ratio:.2f} times as fast as two passes; promised: {promises[name]:g}")
    if args.out:
        about = {"model": args.shape or recipe.model, "res": recipe.res, "batch": recipe.batch, "where": where}
        rates = {name: images / took for name, took in best.items()}
        told = {**about, "precision": recipe.precision, "images_per_s": rates, "first_epoch": images / first}
        write_json(args.out, {**told, "promises": promises, "kept": not broken, "versions": versions()})
    return int(bool(broken))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="embedded-create", help="a model or its folder; with heads for normals, theirs"
    )
    parser.add_argument("--shape", choices=("sd15",), help="random weights in a shape, made in runs/shapes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of one pass and cached (default: the recipe's)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--res", type=int, default=64, help="longest side in pixels")
    parser.add_argument("--steps", type=int, default=10, help="steps, each on a batch of its own, in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", default="", help="a JSON file of all numbers")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
