"""How many images a second are created of labelled ones, and how good they are, beside the field's usual way.

    OMP_NUM_THREADS=1 python benchmarks/creation.py [--num 2000] [--timed 320] [--search] [-o creation.json]

The usual way is one image at a time, 50 steps of DDIM (the released code of Diff-2-in-1: Zheng et al., ICLR 2025). The
other arm is `create.synthesize` as `denoisight improve` calls it: in batches, with the sampler and number of steps that
are its own. Both make the same number of images of the same scenes, under the same captions, from the same noise of the
same level, by the same model. With --search other samplers and numbers of steps are tried, too.

Arms take turns on batches of sources; the fastest batch of each counts, since other programs on the machine can only
slow them. After the first --timed sources nothing is timed, and what is made one at a time is made in batches too:
these are the same images, which is checked first. KID is that of each arm's images to as many scenes that nothing was
made of, in the model's own features (they see blur and noise); brackets are 95 % intervals, by leaving out a twentieth
of the images in turn, of the difference between two arms a twentieth of the sources. An arm is no worse than the usual
way where the interval of the difference of their KID reaches 0, which is said of 2000 images and more: fewer could not
tell. Ends with 1 where the promise is not kept: so many times as fast, and no worse.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from denoisight.create.synthesize import require_creation, synthesize
from denoisight.create.variation import Variation
from denoisight.data.open import open_data
from denoisight.evaluate.features import Features, taps_of
from denoisight.metrics.images import FEW, kid
from denoisight.metrics.intervals import jackknife
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.runtime import item_seed, versions, write_json

PROMISE = 4.0
"""Times the images a second of the usual way."""
USUAL, OWN = "usual", "own"
SEARCHED = [(sampler, steps) for sampler in ("dpmpp-2m", "ddim") for steps in (8, 10, 15, 25)]


@dataclass(frozen=True)
class Arm:
    sampler: str
    steps: int
    batch: int


class Source(NamedTuple):
    image: Tensor
    text: str
    seed: int


@dataclass
class Row:
    """What came of an arm; intervals are (value, low, high)."""

    name: str
    sampler: str
    steps: int
    batch: int
    images_per_s: float
    ratio: float
    kid: tuple[float, float, float]
    worse_by: tuple[float, float, float]
    num: int

    @property
    def no_worse(self) -> bool | None:
        """None where the images are too few to tell."""
        return None if self.num < FEW else self.worse_by[1] <= 0

    @property
    def keeps_the_promise(self) -> bool:
        """In speed alone, where nothing is known of the rest."""
        return self.ratio >= PROMISE and self.no_worse is not False


def arms_of(batch: int, search: bool) -> dict[str, Arm]:
    own = Variation()
    arms = {USUAL: Arm("ddim", 50, 1), OWN: Arm(own.sampler, own.steps, batch)}
    return arms | ({f"{s} {n}": Arm(s, n, batch) for s, n in SEARCHED} if search else {})


def sources_of(model: Model, count: int, seed: int = 0) -> list[Source]:
    """Scenes with their captions and the seeds of their noise, as a maker of pairs draws them."""
    resolution = model.parts.config.resolution
    reader = open_data(f"scenes:{count}", "train", size=(resolution,) * 2, annotated=False)
    samples = (reader[i] for i in range(count))
    fit = model.parts.backbone.fit
    return [Source(fit(s.image, resolution), s.query.text, item_seed(seed, f"{s.key}#1")) for s in samples]


def create(model: Model, arm: Arm, sources: Sequence[Source], level: float) -> Tensor:
    made = []
    for first in range(0, len(sources), arm.batch):
        group = sources[first : first + arm.batch]
        images = synthesize(
            model.parts.backbone,
            [source.text for source in group],
            [source.seed for source in group],
            steps=arm.steps,
            sampler=arm.sampler,
            images=torch.stack([source.image for source in group]),
            noise_level=level,
            **model.parts.config.walk(arm.sampler),
        )
        made.append(images.cpu())
    return torch.cat(made)


def check(model: Model, sources: Sequence[Source], level: float) -> None:
    """Raises `AssertionError` unless batches make the very images that are made alone, but for rounding."""
    few = sources[:4]
    alone, together = (create(model, Arm("ddim", 2, batch), few, level) for batch in (1, len(few)))
    apart = float((alone - together).abs().max())
    print(f"alone and in a batch, images are within {apart:.1e} of each other (allowed: 1e-3)")
    if apart > 1e-3:
        raise AssertionError("images hang on who is made with them; a comparison of times means nothing")


def run(
    model: Model, arms: dict[str, Arm], sources: Sequence[Source], level: float, timed: int
) -> dict[str, tuple[float, Tensor]]:
    """Of each arm images a second, from the first `timed` sources, and the images of 256 levels, as they are stored."""
    chunk = max(arm.batch for arm in arms.values())
    rates, made = dict.fromkeys(arms, 0.0), {name: list[Tensor]() for name in arms}
    for first in range(0, len(sources), chunk):
        some = sources[first : first + chunk]
        for name, arm in arms.items():
            began = time.perf_counter()
            images = create(model, arm if first < timed else replace(arm, batch=chunk), some, level)
            # A last batch of fewer would be slower an image, and is not counted unless it is the only one.
            if not first or (first < timed and len(some) == chunk):
                rates[name] = max(rates[name], len(some) / (time.perf_counter() - began))
            made[name].append((images * 255).round() / 255)
    return {name: (rates[name], torch.cat(made[name])) for name in arms}


def seen_by(features: Features, images: Tensor, batch: int = 64) -> Tensor:
    return torch.cat([features.see(list(some)).vectors for some in images.split(batch)]).double()


def judged(arms: dict[str, Arm], done: dict[str, tuple[float, Tensor]], real: Tensor, features: Features) -> list[Row]:
    """Every arm beside the usual way; `real` are features of scenes that nothing was made of."""
    usual_rate, usual_images = done[USUAL]
    usual = seen_by(features, usual_images)
    rows = []
    for name, arm in arms.items():
        rate, images = done[name]
        mine = usual if name == USUAL else seen_by(features, images)
        about = (name, arm.sampler, arm.steps, arm.batch, rate, rate / usual_rate)
        rows.append(Row(*about, kid=_with_interval(mine, real), worse_by=_more(mine, usual, real), num=len(images)))
    return rows


def _with_interval(mine: Tensor, real: Tensor) -> tuple[float, float, float]:
    value = kid(mine, real)
    rows = torch.arange(len(mine)), torch.arange(len(real))
    return value, *jackknife(lambda some, others: kid(mine[some], real[others]), *rows, value=value)


def _more(mine: Tensor, usual: Tensor, real: Tensor) -> tuple[float, float, float]:
    """By how much the KID of an arm is above the usual way's. Both images of a source are left out together."""

    def more(some: Tensor, others: Tensor) -> float:
        return kid(mine[some], real[others]) - kid(usual[some], real[others])

    rows = torch.arange(len(mine)), torch.arange(len(real))
    value = more(*rows)
    return value, *jackknife(more, *rows, value=value)


def main() -> int:
    args = _arguments()
    model = load(args.model, args.device)
    require_creation(model)
    resolution = model.parts.config.resolution
    where = f"{args.device}, {torch.get_num_threads()} threads of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    print(f"{model.name} at {resolution} px, noise level {args.noise_level:g}, {args.num} images; {where}")
    sources = sources_of(model, args.num)
    check(model, sources, args.noise_level)
    arms = arms_of(args.batch, args.search)
    done = run(model, arms, sources, args.noise_level, args.timed)
    held_out = open_data(f"scenes:{args.num}", "test", size=(resolution,) * 2, annotated=False)
    features = taps_of(model)
    real = torch.stack([(held_out[i].image * 255).round() / 255 for i in range(args.num)])
    rows = judged(arms, done, seen_by(features, real), features)
    _print(rows)
    if args.num < FEW:
        print(f"{args.num} images are too few to compare KID; {FEW} or more tell, so only the speed is judged.")
    own = next(row for row in rows if row.name == OWN)
    kept = own.keeps_the_promise
    if not kept:
        others = ", ".join(row.name for row in rows if row.keeps_the_promise) or "none of these"
        print(
            f"NOT KEPT: {own.ratio:.2f} times as fast as the usual way, {_words(own)}; promised: {PROMISE:g}, no worse."
        )
        print(f"Arms that would keep it: {others}")
    if args.out:
        about = {"model": model.name, "weights": model.weights_hash, "features": features.name, "where": where}
        told = {
            **about,
            "num": args.num,
            "timed": min(args.timed, args.num),
            "noise_level": args.noise_level,
        }
        told |= {"promise": PROMISE, "kept": kept, "arms": [{**asdict(row), "no_worse": row.no_worse} for row in rows]}
        write_json(args.out, {**told, "versions": versions()})
    return int(not kept)


def _words(row: Row) -> str:
    return {None: "not told", True: "no worse", False: "worse"}[row.no_worse]


def _print(rows: Sequence[Row]) -> None:
    print(f"{'arm':12} {'sampler':9} {'steps':>5} {'batch':>5} {'images/s':>9} {'ratio':>6}  KID; more than usual")
    for row in rows:
        (value, low, high), (more, least, most) = row.kid, row.worse_by
        beside = "" if row.name == USUAL else f"; {more:+.2e} [{least:+.2e}, {most:+.2e}] {_words(row)}"
        numbers = f"{row.steps:5} {row.batch:5} {row.images_per_s:9.2f} {row.ratio:6.2f}"
        print(f"{row.name:12} {row.sampler:9} {numbers}  {value:.2e} [{low:.2e}, {high:.2e}]{beside}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded-create", help="a model that creates, or its folder")
    parser.add_argument("--num", type=int, default=2000, help="images of each arm, and real ones (2000 at most)")
    parser.add_argument("--timed", type=int, default=320, help="so many of them are timed")
    parser.add_argument("--noise-level", type=float, default=0.6)
    parser.add_argument("--batch", type=int, default=Variation().batch)
    parser.add_argument("--search", action="store_true", help="try other samplers and numbers of steps, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", default="", help="a JSON file of all numbers")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
