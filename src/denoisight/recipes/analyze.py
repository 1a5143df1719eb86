"""A model along its denoising walk: what every step brings, what the last ones cost and why, and how many to take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data.open import subset
from ..errors import UsageError
from ..evaluate.baselines import baselines
from ..evaluate.causes import Causes, separate
from ..evaluate.judges import judge_of
from ..evaluate.recommend import RULE, Stop, difference, recommend, stops
from ..evaluate.run import count
from ..evaluate.steps import StepScores, grid_of, score_steps
from ..models.embedded import SHIPPED, embedded_folder
from ..models.files import snapshot_of
from ..models.folder import store_walk
from ..predict.load import find_folder
from ..predict.model import Model
from ..predict.options import Options
from ..runtime import versions
from ..train.contribution import MeasuredLaw, measure
from ..train.validate import CHOOSE_BY
from .analysis import Analysis, CausesFound, Shape, Stopping, Walk
from .judge import Case, find_cases, progress_bar

BESIDE = {"depth": ("delta1",)}
"""Scores that are shown beside the deciding one; of depth the one that ADDP draws (its figure 3)."""

CAUSE_IMAGES = 32
"""How many images the causes of a late loss are separated on."""

BASELINE_IMAGES = 200
"""How many training images the trivial prediction is made from."""


@dataclass(frozen=True, eq=False)
class Analysed:
    """What was written down, and what is needed to draw it."""

    analysis: Analysis
    law: MeasuredLaw
    walks: tuple[StepScores, ...]
    causes: Causes
    model: Model
    case: Case
    options: Options

    def write(self, folder: Path) -> None:
        """`analysis.json` and `law.json`, each whole or absent."""
        self.law.write(folder / self.analysis.law)
        self.analysis.write(folder)


def analyze(
    model: Model,
    name: str,
    *,
    task: str = "depth",
    protocol: str = "",
    data: str = "",
    split: str = "test",
    steps: int = 10,
    seeds: int = 3,
    limit: int = 64,
    options: Options = Options(batch=16),  # noqa: B008
    store: bool = True,
    quiet: bool = False,
) -> Analysed:
    """Analyse one task on (at most `limit` of) a protocol's images or the user's own `data`, as `judge` finds them.

    With `store` the recommendation is written into the folder that `name` is, where that is the user's own. Raises
    `UsageError` for values that are too small and for a task that the model does not denoise.
    """
    _check(model, task, steps, seeds, limit)
    case = _few(find_cases(model, name, protocol, task, data, split)[0][0], limit)
    metric, sign = CHOOSE_BY[task]
    shown = (metric, *BESIDE.get(task, ()))
    runs = tuple(range(options.seed, options.seed + seeds))
    walks = {}
    for length in _lengths(steps):
        bar = progress_bar(f"{task}, {length} steps", quiet)
        walks[length] = score_steps(
            model, case.protocol, case.reader, steps=length, seeds=runs, options=options, progress=bar
        )
    longest, schedule = walks[steps], model.parts.backbone.schedule
    candidates = stops(tuple(walks.values()), metric, sign, schedule.num_timesteps)
    few = subset(case.reader, range(min(CAUSE_IMAGES, len(case.reader))))
    bar = progress_bar(f"{task}, causes", quiet)
    causes = separate(model, case.protocol, few, steps=steps, seeds=runs, options=options, progress=bar)
    trivial_name, trivial = _trivial(case, metric, options)
    law = measure(
        longest.means(metric),
        trivial,
        longest.timesteps,
        metric,
        judge_of(case.protocol).metrics[metric],
        task=task,
        model=model.name,
        schedule=schedule.name,
        num_timesteps=schedule.num_timesteps,
    )
    shape = _shape(longest, metric, sign, trivial, trivial_name)
    found = _causes_found(causes, metric, len(few))
    chosen = recommend(candidates)
    analysis = Analysis(
        model=model.name,
        model_hash=model.weights_hash,
        protocol=case.protocol,
        num_images=len(case.reader),
        seeds=runs,
        settings={"sampler": options.sampler, "resolution": options.res or model.parts.config.resolution},
        metric=metric,
        metrics={key: judge_of(case.protocol).metrics[key] for key in shown},
        walks=tuple(_walk(walk, shown, _seconds(model, case, options, n)) for n, walk in walks.items()),
        shape=shape,
        causes=found,
        verdict=verdict(shape, found, metric, steps),
        rule=RULE,
        candidates=tuple(_stopping(stop, sign) for stop in candidates),
        recommended=_stopping(chosen, sign),
        stored=_store(name, task, chosen) if store else "--no-store was given",
        law="law.json",
        versions=versions(),
    )
    return Analysed(analysis, law, tuple(walks.values()), causes, model, case, options)


def verdict(shape: Shape, causes: CausesFound, metric: str, steps: int) -> str:
    """In plain words whether the walk loses towards its end, and by what: drift, weakness at low noise, noise left."""
    best, (first, last) = shape.best_step - 1, (shape.best.value, shape.last.value)
    if best == steps - 1:
        return f"No late loss: the last of {steps} steps is the best. {_rest(causes)}"
    said = f"{metric} goes from {first:.3g} at step {shape.best_step} to {last:.3g} at step {steps}"
    if shape.relative_loss is not None:
        said += f", {shape.relative_loss:.1%} worse"
    if (shape.late_loss.low or 0.0) <= 0:
        return f"No late loss beyond the spread over images and seeds: {said}. {_rest(causes)}"
    return " ".join((f"Late loss: {said}.", _drift(causes, best), _noise(causes, best), _growth(causes, best)))


def _drift(causes: CausesFound, best: int) -> str:
    """Whether the network would lose, too, were it fed with the truth."""
    own, fed = (_change(values, best) for values in (causes.own, causes.fed))
    told = f"Fed with the truth's own x_t the same network moves by {fed:+.2g} where it moves by {own:+.2g} on its own"
    if fed * own <= 0 or abs(fed) < abs(own) / 2:
        return f"{told}: the loss is drift, for it comes from being fed its own estimates."
    return f"{told}: it is weak at low noise whatever it is fed, and drift is not the main cause."


def _noise(causes: CausesFound, best: int) -> str:
    """More fine detail than the truth has is noise."""
    before, after = causes.detail[best] or 0.0, causes.detail[-1] or 0.0
    grown = f"its fine detail goes from {before:.2f} to {after:.2f} times the truth's"
    if after > max(before, 1.0):
        return f"Residual noise has a part in it: {grown}."
    return f"Residual noise has none: {grown}."


def _growth(causes: CausesFound, best: int) -> str:
    """How much of what is added to the squared error after the best step is variance over seeds."""
    grown = _change(causes.error, best)
    if grown <= 0:
        return "The squared error of the canvas does not grow with it."
    if causes.varying is None:
        return ""
    share = min(max(_change(causes.varying, best) / grown, 0.0), 1.0)
    return f"Of the growth of the canvas's squared error {share:.0%} is variance over seeds, the rest common to all."


def _rest(causes: CausesFound) -> str:
    """What the last estimate still holds of noise."""
    sentence = f"The last estimate has {causes.detail[-1] or 0.0:.2f} times the truth's fine detail"
    error = causes.error[-1]
    if causes.varying is not None and error:
        sentence += f", and {(causes.varying[-1] or 0.0) / error:.0%} of its squared error is variance over seeds"
    return sentence + "."


def _change(values: Sequence[float | None], best: int) -> float:
    """From the step `best` (the first is 0) to the last; 0 where either is not known."""
    first, last = values[best], values[-1]
    return 0.0 if first is None or last is None else last - first


def _check(model: Model, task: str, steps: int, seeds: int, limit: int) -> None:
    for name, value, least in (("steps", steps, 2), ("seeds", seeds, 1), ("limit", limit, 1)):
        if value < least:
            raise UsageError(f"{name} is {value}, but an analysis needs at least {least}.")
    if task in model.reads and task not in model.denoises:
        raise UsageError(f"Model {model.name!r} reads {task} out in one pass, so there are no steps to analyse.")
    if not model.denoises:
        raise UsageError(
            f"Model {model.name!r} denoises no task, so there is nothing to analyse; teach it one with "
            "`denoisight train`."
        )
    model.task(task, "denoise")
    grid_of(model, steps)


def _few(case: Case, limit: int) -> Case:
    case.protocol.check(case.reader.keys)
    return replace(case, reader=subset(case.reader, min(limit, len(case.reader))))


def _lengths(steps: int) -> list[int]:
    """1, 2, 4, ... and `steps` itself."""
    return [*(2**i for i in range(steps.bit_length()) if 2**i < steps), steps]


def _trivial(case: Case, metric: str, options: Options) -> tuple[str, float]:
    """The first trivial prediction that there is, and its score; where there is none, nothing, which scores 0."""
    protocol, reader = case.protocol, case.reader
    for name, rival in baselines(protocol, case.training, BASELINE_IMAGES, images=reader).items():
        tally = count(rival, protocol, reader, range(len(reader)), batch=options.batch, seed=options.seed)
        return name, tally.scores(protocol.pooling)[metric]
    return "nothing", 0.0


def _seconds(model: Model, case: Case, options: Options, steps: int) -> float:
    """An image's share of one batch's time: the shorter of two runs, after one to get warm."""
    samples = [case.reader[i] for i in range(min(options.batch, len(case.reader)))]
    queries = [sample.asked(case.protocol.truth) for sample in samples]
    asked = replace(options, steps=steps, stop_at=0.0, route="denoise", ensemble=1)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        list(model.stream(queries, case.protocol.task, asked))
        took.append(time.perf_counter() - began)
    return min(took[1:]) / len(queries)


def _walk(walk: StepScores, metrics: Sequence[str], seconds: float) -> Walk:
    steps = range(len(walk.timesteps))
    return Walk(
        steps=len(steps),
        timesteps=walk.timesteps,
        scores={metric: tuple(walk.score(metric, step) for step in steps) for metric in metrics},
        by_seed={metric: tuple(map(_known, walk.means(metric))) for metric in metrics},
        seconds=seconds,
    )


def _shape(walk: StepScores, metric: str, sign: float, trivial: float, trivial_name: str) -> Shape:
    mean = sign * walk.means(metric).mean(0)
    best, last = int(np.nanargmin(mean)), len(mean) - 1
    draws = {step: sign * walk.replicates(metric, step) for step in {0, best, last}}
    late = difference(mean[last], draws[last], mean[best], draws[best])
    return Shape(
        trivial=trivial,
        trivial_name=trivial_name,
        first=walk.score(metric, 0),
        best_step=best + 1,
        best=walk.score(metric, best),
        last=walk.score(metric, last),
        startup_gain=difference(mean[0], draws[0], mean[best], draws[best]),
        late_loss=late,
        relative_loss=None if late.value is None or not mean[best] else late.value / abs(mean[best]),
    )


def _causes_found(causes: Causes, metric: str, num_images: int) -> CausesFound:
    return CausesFound(
        num_images=num_images,
        own=_known(causes.own.means(metric).mean(0)),
        fed=_known(causes.fed.means(metric).mean(0)),
        detail=_known(causes.detail.mean(0)),
        fed_detail=_known(causes.fed_detail.mean(0)),
        error=_known(causes.error),
        varying=_known(causes.varying) if len(causes.detail) > 1 else None,
    )


def _known(values: Iterable[float]) -> tuple[float | None, ...]:
    return tuple(float(value) if math.isfinite(value) else None for value in values)


def _stopping(stop: Stop, sign: float) -> Stopping:
    return Stopping(
        steps=stop.steps, taken=stop.taken, stop_at=stop.stop_at, score=sign * stop.badness, behind=stop.behind
    )


def _store(name: str, task: str, chosen: Stop) -> str:
    """Write the recommendation into the user's own folder; "" when that was done, else why it was not."""
    folder = find_folder(name)
    if any(folder.resolve() == embedded_folder(shipped).resolve() for shipped in SHIPPED):
        return "the model belongs to the package"
    if snapshot_of(folder):
        return "the model lies in the hub's cache"
    if not (folder / "model.json").exists():
        return "a stock folder has no model.json to keep it in"
    store_walk(folder, task, chosen.steps, chosen.stop_at)
    return ""
