"""Judge a predictor by a protocol: queries in, annotations out, counts per image, one result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial as bind
from typing import Any, NamedTuple

from torch import Tensor

from ..annotations import Annotation, Depth, Labels, Normals, Query, Sample, stack
from ..data.readers import Reader
from ..errors import DenoisightError, ProtocolError, shortlist
from ..metrics import Metric, depth, labels, normals
from ..metrics.tally import Scores, Tally
from ..runtime import versions
from .protocols import Protocol, list_hash
from .results import POOLINGS, Result, Score

Predictor = Callable[[Sequence[Query], int], Sequence[Annotation]]
"""(queries, run seed) -> one annotation a query, of any size. Never sees a truth; draws its random numbers
from `runtime.generator(seed, query.key)`, so that batches and workers change nothing."""

Progress = Callable[[Sequence[Any]], Iterable[Any]]
"""Wraps the list of batches while it is walked, as `tqdm` does."""


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
    """Judge `predictor` on the protocol's images, or with `limit` on the first of them.

    `name`, `model_hash` and `settings` (steps, ensemble, dtype, resolution, ...) are written down with the
    result. Raises `ProtocolError` where the images are not the protocol's; with `partial` it judges what
    there is, and the result says so.
    """
    keys = tuple(reader.keys)[:limit]
    if not partial:
        protocol.check(keys)
    tally = count(predictor, protocol, reader, range(len(keys)), batch=batch, seed=seed, progress=progress)
    return summarize(tally, protocol, name=name, model_hash=model_hash, settings=settings, seed=seed)


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
    keys = reader.keys
    tallies = {name: Tally([keys[i] for i in indices], scores_of(protocol)) for name in predictors}
    for chunk in progress([indices[i : i + batch] for i in range(0, len(indices), batch)]):
        samples = [reader[i] for i in chunk]
        queries = [sample.query for sample in samples]
        for name, predictor in predictors.items():
            predictions = predictor(queries, seed)
            if len(predictions) != len(samples):
                raise ProtocolError(
                    f"{len(samples)} queries were answered by {len(predictions)} predictions; give one a query."
                )
            for sample, prediction in zip(samples, predictions, strict=True):
                tallies[name].add([sample.key], count_image(prediction, sample, protocol))
    return tallies


def count_image(prediction: Annotation, sample: Sample, protocol: Protocol) -> dict[str, Tensor]:
    """One image's counts, with a leading axis of 1. The prediction is brought to the truth's size first."""
    judge = _judge(protocol)
    truth = _truth(sample, protocol, judge.kind)
    if not isinstance(prediction, judge.kind):
        raise ProtocolError(
            f"Protocol {protocol.name} ({protocol.task}) judges {judge.kind.__name__}, but for image "
            f"{sample.key!r} came {type(prediction).__name__}; give a predictor for this task."
        )
    if not all(t.isfinite().all() for t in prediction.tensors().values()):
        raise DenoisightError(f"The prediction for image {sample.key!r} holds NaN or infinity.")
    prediction = prediction.to("cpu").resize(*truth.size)
    if protocol.crop is not None:
        prediction, truth = prediction.crop(*protocol.crop), truth.crop(*protocol.crop)
    return judge.counts(stack([prediction]), stack([truth]))


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
    counts = tally.counts()
    pixels = counts["pixels"]
    scores = {}
    for pooling in POOLINGS:
        values, intervals = tally.scores(pooling), tally.intervals(pooling)
        scores[pooling] = {metric: Score.of(values[metric], *intervals[metric]) for metric in values}
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
        metrics=_judge(protocol).metrics,
        versions=versions(),
        keys=tally.keys,
        per_image={metric: values.tolist() for metric, values in tally.per_image().items()},
    )


def scores_of(protocol: Protocol) -> Scores:
    """What turns a protocol's counts, of any number of images, into its scores."""
    return _judge(protocol).scores


def _truth(sample: Sample, protocol: Protocol, kind: type[Annotation]) -> Annotation:
    """Raises `ProtocolError` where the sample is not what the protocol judges, whatever its key says."""
    truth = sample.truths.get(protocol.truth)
    about = f"Image {sample.key!r} does not fit protocol {protocol.name} ({protocol.task}): "
    if not isinstance(truth, kind):
        raise ProtocolError(f"{about}it has no {kind.__name__} named {protocol.truth!r}; give its own data.")
    if protocol.size not in (None, truth.size):
        raise ProtocolError(f"{about}(height, width) is {truth.size}, not {protocol.size}; read it at that size.")
    if isinstance(truth, Labels) and truth.classes != protocol.classes:
        raise ProtocolError(f"{about}its classes are {shortlist(truth.classes)}; use the protocol's own classes.")
    return truth


class _Judge(NamedTuple):
    kind: type[Annotation]
    counts: Callable[[Any, Any], dict[str, Tensor]]
    scores: Scores
    metrics: dict[str, Metric]


def _judge(protocol: Protocol) -> _Judge:
    if protocol.classes:
        of_classes = {f"iou/{name}": labels.IOU for name in protocol.classes}
        scores = bind(labels.labels_scores, classes=protocol.classes)
        return _Judge(Labels, labels.labels_counts, scores, {**labels.METRICS, **of_classes})
    if protocol.alignment is not None and protocol.range_m is not None:
        counts = bind(depth.depth_counts, alignment=protocol.alignment, range_m=protocol.range_m)
        return _Judge(Depth, counts, depth.depth_scores, depth.METRICS)
    return _Judge(Normals, normals.normals_counts, normals.normals_scores, normals.METRICS)
