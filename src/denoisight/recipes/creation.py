"""Created labelled images before judges: real images, training images, and a model that learnt elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as bind
from typing import Any

from ..annotations import Depth, Sample, base_of
from ..data.readers import Reader
from ..data.readers.coco import CocoReader
from ..data.readers.folder import FolderReader
from ..data.view import View
from ..errors import DataError, DenoisightError, pick, shortlist
from ..evaluate.creation import (
    COVERAGE_K,
    MANIFOLD_K,
    compare_features,
    compare_labels,
    copies,
    kid_apart,
    warnings,
)
from ..evaluate.creation_results import Agreement, CreationResult, Pair, Scores
from ..evaluate.features import Features, taps_of, told_apart
from ..evaluate.judges import JUDGES, judge_of
from ..evaluate.observed import DIVERSITY_IMAGES, Observed, observe
from ..evaluate.own import own
from ..evaluate.results import Result
from ..evaluate.run import Progress, enter, summarize
from ..evaluate.statistics import statistics_of
from ..metrics.intervals import PARTS
from ..metrics.tally import Tally
from ..predict.model import Model
from ..predict.options import Options, Route
from ..runtime import versions
from ..tasks import TASKS
from ..train.validate import CHOOSE_BY
from .judge import progress_bar


@dataclass(frozen=True, eq=False)
class JudgedCreation:
    """The result with what is needed to draw it: the nearest training image of each created one, and what the judge
    scored each created image at, by task."""

    result: CreationResult
    created: Reader
    real: Reader
    train: Reader | None
    pairs: Mapping[str, Pair]
    agreed: Mapping[str, Mapping[str, float]]
    judge: Model | None
    options: Options


def judge_creation(
    created: Reader,
    real: Reader,
    train: Reader | None = None,
    features: Model | Features | Sequence[Features] = (),
    judge: Model | None = None,
    tasks: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """What `creation.json` holds, as plain values; `judge_images` says what the arguments are."""
    judged = judge_images(created, real, train, features, judge, tasks, options=Options(seed=seed, batch=16))
    return judged.result.model_dump(mode="json")


def judge_images(
    created: Reader,
    real: Reader,
    train: Reader | None = None,
    features: Model | Features | Sequence[Features] = (),
    judge: Model | None = None,
    tasks: Sequence[str] = (),
    *,
    options: Options = Options(batch=16),  # noqa: B008
    quiet: bool = True,
) -> JudgedCreation:
    """Compare created with real images in `features` (a model's own taps, or several networks) and in their labels.

    `real` should be images that the creator did not learn from, `train` those that it did: they tell how new created
    images are, and how near real images are to each other. `judge`, a model that learnt from yet others, is asked for
    `tasks` on created and on real images (none: all it can be asked for). `options` is how it is asked; its seed is
    that of intervals, too. Raises `UsageError` for a set of fewer than two images and for no features, `DataError`
    where a task that is named lacks its truth in one of the sets.
    """
    networks = _networks(features)
    statistics, notes = statistics_of(created, real, [_truth_of(task) for task in tasks])
    asked, unjudged = _askable(judge, created, real, tasks, options.route) if judge else ([], [])
    of_train = {each.name for each in statistics_of(created, train)[0]} if train else set()
    if train and (apart := [each.truth for each in statistics if each.name not in of_train]):
        unjudged.append(f"Training images have no {shortlist(list(dict.fromkeys(apart)))}, or of other classes.")
    sets = {"created": created, "real": real, **({} if train is None else {"train": train})}
    # Only what was created has a source; every real image is its own.
    seen = {
        name: observe(
            reader,
            networks,
            [each for each in statistics if name != "train" or each.name in of_train],
            batch=options.batch,
            progress=progress_bar(name, quiet),
            **({} if name == "created" else {"source": lambda sample: sample.key}),
        )
        for name, reader in sets.items()
    }
    made, true, learnt = seen["created"], seen["real"], seen.get("train")
    nearest = copies(networks[0].name, made, true, learnt, options.seed)[1] if learnt else {}
    answers = _agreements(judge, created, real, asked, options, quiet) if judge and asked else []
    if judge and answers and _made_by(judge, created):
        unjudged.append(
            f"{judge.name} judges labels that the same weights made: it agrees with itself, which says nothing of "
            "them; take a judge that learnt elsewhere."
        )
    compared = tuple(compare_features(one, made, true, learnt, options.seed) for one in networks)
    per_image = {answer.task: dict(zip(result.keys, result.per_image[answer.metric], strict=True))
                 for answer, result in answers}  # fmt: skip
    result = CreationResult(
        created=made.images(),
        real=true.images(),
        train=learnt and learnt.images(),
        features=compared,
        statistics=tuple(compare_labels(each, made, true, learnt, options.seed) for each in statistics),
        agreement=tuple(answer for answer, _ in answers),
        settings=_settings(),
        seed=options.seed,
        notes=(*warnings(made, true, learnt), *filter(None, map(kid_apart, compared)), *notes, *unjudged),
        versions=versions(),
        rows=tuple(_rows(made, nearest, per_image)),
    )
    return JudgedCreation(result, created, real, train, nearest, per_image, judge, options)


def agreement(judge: Model, created: Reader, options: Options) -> dict[str, Scores]:
    """What a judge makes of created labels, of every task that it can be asked for."""
    able = _askable(judge, created, created, (), options.route)[0]
    made = _judged(judge, created, able, options, progress_bar("judging created images", quiet=True), base_of)
    return {task: made[task].headline for task in able}


def _networks(features: Model | Features | Sequence[Features]) -> tuple[Features, ...]:
    if isinstance(features, Model):
        return (taps_of(features),)
    return (features,) if isinstance(features, Features) else told_apart(features)


def _truth_of(task: str) -> str:
    return pick(TASKS, task, "task")(("any",)).truth


def _made_by(judge: Model, created: Reader) -> bool:
    while isinstance(created, View):
        created = created.whole
    labeller = created.info.labeller if isinstance(created, FolderReader | CocoReader) else ""
    return bool(labeller) and judge.weights_hash.startswith(labeller)


def _settings() -> dict[str, Any]:
    return {
        "precision and recall": f"neighbour {MANIFOLD_K}, of created images the nearest of each other source",
        "density and coverage": f"neighbour {COVERAGE_K}",
        "diversity": f"at most {DIVERSITY_IMAGES} images of a set",
        "intervals": f"95 %: of fid, kid, js and wasserstein by leaving out each of {PARTS} parts of the images, "
        "of all else by bootstrap over images; created images of one source are left out or drawn together",
        "kid": "without pairs of created images of one source",
    }


def _askable(
    judge: Model, created: Reader, real: Reader, tasks: Sequence[str], route: Route | None
) -> tuple[list[str], list[str]]:
    """What the judge can be asked for, of `tasks` or of all that it knows, and notes on what it cannot. Raises
    `DenoisightError` for one of `tasks`, before any image is read."""
    able, notes = [], []
    for task in tasks or [task for task in judge.tasks if task in JUDGES]:
        try:
            _check(judge, created, real, task, route)
            able.append(task)
        except DenoisightError as error:
            if tasks:
                raise
            notes.append(f"The judge was not asked for {task}: {error}")
    return able, notes


def _agreements(
    judge: Model, created: Reader, real: Reader, tasks: Sequence[str], options: Options, quiet: bool
) -> list[tuple[Agreement, Result]]:
    """Of each task what the judge makes of it, with its scores of created images."""
    made = _judged(judge, created, tasks, options, progress_bar("judging created images", quiet), base_of)
    true = _judged(judge, real, tasks, options, progress_bar("judging real images", quiet))
    return [(_agreement(judge, made[task], true[task], options), made[task]) for task in tasks]


def _check(judge: Model, created: Reader, real: Reader, task: str, route: Route | None) -> None:
    """Raises `DataError` where the judge's answers could not be held against the labels, `UsageError` where it gives
    none by this route."""
    truth, asked = _truth_of(task), judge.task(task, route)[0]
    for reader in (created, real):
        if truth not in reader.truths:
            raise DataError(
                f"{reader.name} has no truth {truth!r} but {shortlist(reader.truths) or 'none'}; "
                "name tasks that created and real images have the truth of."
            )
        label = reader[0].truths[truth]
        if isinstance(label, Depth) and label.gauge not in ("metres", "scale"):
            raise DataError(
                f"depth of {reader.name} is known up to {label.gauge!r}, which leaves no ratio to score; label with "
                "metres, or up to a factor (--codecs.depth ratio)."
            )
        protocol = own(reader, task)
        judge_of(protocol).require()
        if asked.classes != protocol.classes:
            raise DataError(
                f"{judge.name} tells {shortlist(asked.classes) or 'no classes'} apart, but {reader.name} "
                f"{shortlist(protocol.classes) or 'none'}; take a judge that learnt the same classes."
            )


def _judged(
    judge: Model,
    reader: Reader,
    tasks: Sequence[str],
    options: Options,
    progress: Progress,
    source: Callable[[str], str] = str,
) -> dict[str, Result]:
    """The judge's result in each task; every image is read once. Images of one `source` are drawn together."""
    protocols = {task: own(reader, task) for task in tasks}
    tallies = {task: Tally(reader.keys, judge_of(protocol).scores, source) for task, protocol in protocols.items()}
    for chunk in progress(
        [range(i, min(i + options.batch, len(reader))) for i in range(0, len(reader), options.batch)]
    ):
        samples = [reader[i] for i in chunk]
        for task, protocol in protocols.items():
            queries = [sample.asked(protocol.truth) for sample in samples]
            for sample, answer in zip(samples, judge.stream(queries, task, options), strict=True):
                enter(tallies[task], answer.annotation, _in_ratios(sample, protocol.truth), protocol)
    about = bind(summarize, name=judge.name, model_hash=judge.weights_hash, seed=options.seed)
    return {task: about(tallies[task], protocol) for task, protocol in protocols.items()}


def _in_ratios(sample: Sample, truth: str) -> Sample:
    """Depth up to a factor is taken as if it were metres: the judge is fitted to it, so ratios do not hang on it."""
    depth = sample.truths[truth]
    if not isinstance(depth, Depth) or depth.gauge == "metres":
        return sample
    return replace(sample, truths={**sample.truths, truth: replace(depth, gauge="metres")})


def _agreement(judge: Model, made: Result, true: Result, options: Options) -> Agreement:
    task = made.protocol.task
    # A length is nothing to compare where the scale is unknown or another one.
    kept = [name for name in made.headline if made.metrics[name].unit != "m"]
    return Agreement(
        task=task,
        judge=judge.name,
        weights=judge.weights_hash,
        settings={"route": judge.task(task, options.route)[1], "pooling": made.protocol.pooling},
        metric=CHOOSE_BY[task][0],
        created={name: made.headline[name] for name in kept},
        real={name: true.headline[name] for name in kept},
        metrics={name: made.metrics[name] for name in kept},
    )


def _rows(created: Observed, nearest: Mapping[str, Pair], agreed: Mapping[str, Mapping[str, float]]) -> list[dict]:
    """A row a created image, for `per_image.csv`."""
    rows = []
    for key in created.keys:
        pair = nearest.get(key)
        row = {"key": key} | ({} if pair is None else {"nearest": pair.nearest, "ratio": pair.ratio})
        row |= {f"{task}/{CHOOSE_BY[task][0]}": scores[key] for task, scores in agreed.items()}
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows
