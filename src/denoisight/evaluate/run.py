"""Judge a predictor by a protocol: queries in, annotations out, counts per image, one result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

from ..annotations import Annotation, Boxes, Labels, Query, Sample, base_of, stack
from ..data.readers import Reader
from ..errors import DenoisightError, ProtocolError, shortlist
from ..metrics import Pooling
from ..metrics.tally import Scores, Tally
from ..runtime import versions
from .judges import judge_of
from .protocols import Protocol, list_hash
from .results import POOLINGS, Result, Score

Predictor = Callable[[Sequence[Query], int], Sequence[Annotation]]
"""(queries, run seed) -> one annotation a query, of any size. Never sees a truth; draws its random numbers
from `runtime.generator(seed, query.key)`, so that batches and workers change nothing."""

Progress = Callable[[Sequence[Any]], Iterable[Any]]
"""Wraps the list of batches while it is walked, as `tqdm` does."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A predictor that is judged, and what is written down about it: settings are steps, ensemble, dtype, ..."""

    predictor: Predictor
    model_hash: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    predictor: Predictor,
    protocol: Protocol,
    reader: Reader,
    *,
    name: str = "model",
    model_hash: str | None = None,
    settings: Mapping[str, Any] | None = None,
    batch: int = 8,
    seed: int = 0,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress = iter,
) -> Result:
    """Judge `predictor` on the protocol's images, or with `limit` on the first of them: see `evaluate_all`."""
    candidates = {name: Candidate(predictor, model_hash, settings or {})}
    return evaluate_all(
        candidates, protocol, reader, batch=batch, seed=seed, limit=limit, partial=partial, progress=progress
    )[0]


def evaluate_all(
    candidates: Mapping[str, Candidate],
    protocol: Protocol,
    reader: Reader,
    *,
    batch: int = 8,
    seed: int = 0,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress = iter,
) -> tuple[Result, ...]:
    """Judge candidates, by name, on the same images, each of which is read once; a result each, in their order.

    Raises `ProtocolError` where the images are not the protocol's; with `partial` it judges what there is, and the
    results say so. Raises `MissingExtraError` before it begins where a package is lacking for the scores.
    """
    keys = tuple(reader.keys)[:limit]
    if not partial:
        protocol.check(keys)
    judge_of(protocol).require()
    predictors = {name: candidate.predictor for name, candidate in candidates.items()}
    indices = range(len(keys))
    tallies = count_arms(predictors, protocol, reader, indices, batch=batch, seed=seed, progress=progress)
    return tuple(
        summarize(tallies[name], protocol, name=name, model_hash=c.model_hash, settings=c.settings, seed=seed)
        for name, c in candidates.items()
    )


def count(
    predictor: Predictor,
    protocol: Protocol,
    reader: Reader,
    indices: Sequence[int],
    *,
    batch: int = 8,
    seed: int = 0,
    progress: Progress = iter,
) -> Tally:
    """Counts of the reader's images at `indices`; the parts of several workers merge into one tally."""
    arms = {"": predictor}
    return count_arms(arms, protocol, reader, indices, batch=batch, seed=seed, progress=progress)[""]


def count_arms(
    predictors: Mapping[str, Predictor],
    protocol: Protocol,
    reader: Reader,
    indices: Sequence[int],
    *,
    batch: int = 8,
    seed: int = 0,
    progress: Progress = iter,
) -> dict[str, Tally]:
    """The same for several predictors, by name, with every image read once."""
    keys, judge = reader.keys, judge_of(protocol)
    tallies = {name: Tally([keys[i] for i in indices], judge.scores, base_of) for name in predictors}
    for chunk in progress([indices[i : i + batch] for i in range(0, len(indices), batch)]):
        samples = [reader[i] for i in chunk]
        queries = [sample.asked(protocol.truth) for sample in samples]
        for name, predictor in predictors.items():
            predictions = predictor(queries, seed)
            if len(predictions) != len(samples):
                raise ProtocolError(
                    f"{len(samples)} queries were answered by {len(predictions)} predictions; give one a query."
                )
            for sample, prediction in zip(samples, predictions, strict=True):
                enter(tallies[name], prediction, sample, protocol)
    return tallies


def enter(tally: Tally, prediction: Annotation, sample: Sample, protocol: Protocol) -> None:
    """Count one image's prediction, brought to the truth's size first."""
    judge, (made, truth) = judge_of(protocol), compare(prediction, sample, protocol)
    tally.add([sample.key], judge.counts(stack([made]), stack([truth])))
    if judge.ranking is not None:
        tally.keep(sample.key, judge.ranking.keep(made, truth))


def compare(prediction: Annotation, sample: Sample, protocol: Protocol) -> tuple[Annotation, Annotation]:
    """Prediction and truth of one image as they are held against each other: of one size, and cut alike."""
    kind = judge_of(protocol).kind
    truth = _truth(sample, protocol, kind)
    if not isinstance(prediction, kind):
        raise ProtocolError(
            f"Protocol {protocol.name} ({protocol.task}) judges {kind.__name__}, but for image "
            f"{sample.key!r} came {type(prediction).__name__}; give a predictor for this task."
        )
    if not all(t.isfinite().all() for t in prediction.tensors().values()):
        raise DenoisightError(f"The prediction for image {sample.key!r} holds NaN or infinity.")
    prediction = prediction.to("cpu").resize(*truth.size)
    if protocol.crop is not None:
        prediction, truth = prediction.crop(*protocol.crop), truth.crop(*protocol.crop)
    return prediction, truth


def summarize(
    tally: Tally,
    protocol: Protocol,
    *,
    name: str = "model",
    model_hash: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Result:
    """Scores and intervals under both poolings. Raises `ProtocolError` where the tally lacks images."""
    judge = judge_of(protocol)
    counts = tally.counts()
    pixels = counts["pixels"]
    scores: dict[Pooling, dict[str, Score]] = {}
    for pooling in POOLINGS:
        values, intervals = tally.scores(pooling), tally.intervals(pooling)
        scores[pooling] = {metric: Score.of(values[metric], *intervals[metric]) for metric in values}
    metrics = dict(judge.metrics)
    if judge.ranking is not None:
        ranked = judge.ranking.scores(tally.details())
        scores["pooled"] |= {metric: Score.of(value, nan, nan) for metric, value in ranked.items()}
        metrics |= judge.ranking.metrics
    return Result(
        predictor=name,
        model_hash=model_hash,
        protocol=protocol,
        partial=list_hash(tally.keys) != protocol.list_hash,
        num_images=len(tally.keys),
        num_empty=int((pixels == 0).sum()),
        unanswered=float(counts["unanswered"].sum() / pixels.sum().clamp(min=1)),
        list_hash=list_hash(tally.keys),
        seed=seed,
        settings=dict(settings or {}),
        scores=scores,
        metrics=metrics,
        versions=versions(),
        keys=tally.keys,
        per_image={metric: values.tolist() for metric, values in tally.per_image().items()},
    )


def scores_of(protocol: Protocol) -> Scores:
    """What turns a protocol's counts, of any number of images, into its scores."""
    return judge_of(protocol).scores


def _truth(sample: Sample, protocol: Protocol, kind: type[Annotation]) -> Annotation:
    """Raises `ProtocolError` where the sample is not what the protocol judges, whatever its key says."""
    truth = sample.truths.get(protocol.truth)
    about = f"Image {sample.key!r} does not fit protocol {protocol.name} ({protocol.task}): "
    if not isinstance(truth, kind):
        raise ProtocolError(f"{about}it has no {kind.__name__} named {protocol.truth!r}; give its own data.")
    if protocol.size not in (None, truth.size):
        raise ProtocolError(f"{about}(height, width) is {truth.size}, not {protocol.size}; read it at that size.")
    named = isinstance(truth, Labels) or (isinstance(truth, Boxes) and protocol.classes)
    classes = getattr(truth, "classes", ())
    if named and classes != protocol.classes:
        raise ProtocolError(f"{about}its classes are {shortlist(classes)}; use the protocol's own classes.")
    return truth
