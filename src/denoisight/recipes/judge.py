"""A model before a protocol, beside the trivial baselines of its data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..annotations import Annotation, Query
from ..data.open import open_data, subset
from ..data.readers import Reader
from ..errors import DataError, UsageError, pick
from ..evaluate.baselines import baselines
from ..evaluate.own import own
from ..evaluate.protocols import PROTOCOLS, Protocol
from ..evaluate.results import Result, Results
from ..evaluate.run import Predictor, count_arms, summarize
from ..predict.model import Model, Options
from .base import read_yaml

TRAINING_IMAGES = 500
"""How many training images the baselines are made from, where there are more."""


@dataclass(frozen=True, eq=False)
class Case:
    """One protocol, its images, and the training images that its baselines are made from, if there are any."""

    protocol: Protocol
    reader: Reader
    training: Reader | None


@dataclass(frozen=True, eq=False)
class Judged:
    """Results with what is needed to draw them."""

    model: Model
    cases: tuple[Case, ...]
    results: Results
    baselines: frozenset[str]
    options: Options


def judge(
    model: Model,
    name: str,
    *,
    protocol: str = "",
    task: str = "all",
    data: str = "",
    split: str = "test",
    options: Options = Options(batch=16),  # noqa: B008
    limit: int | None = None,
    partial: bool = False,
    quiet: bool = False,
    trivial: bool = True,
) -> Judged:
    """Judge by a named protocol, or by the `split` of the user's own `data`; `task` "all" is all that fit.

    `name` is what the model was called: a run folder tells where its data lie. `trivial`: beside the trivial
    baselines. Raises `UsageError` for a task that
    the protocol or the model lacks, `DataError` where the images are not found, `ProtocolError` for a part of them.
    """
    cases = tuple(_cases(model, name, protocol, task, data, split))
    results: list[Result] = []
    rival_names: set[str] = set()
    for case in cases:
        settings = _settings(model, case.protocol.task, options)
        arms: dict[str, Predictor] = {model.name: predictor(model, case.protocol.task, options)}
        rivals = baselines(case.protocol, case.training) if trivial else {}
        rival_names |= set(rivals)
        keys = case.reader.keys[:limit]
        if not partial:
            case.protocol.check(keys)
        tallies = count_arms(
            arms | rivals,
            case.protocol,
            case.reader,
            range(len(keys)),
            batch=options.batch,
            seed=options.seed,
            progress=_progress(case.protocol.task, quiet),
        )
        for arm, tally in tallies.items():
            own_arm = arm in arms
            results.append(
                summarize(
                    tally,
                    case.protocol,
                    name=arm,
                    model_hash=model.weights_hash if own_arm else None,
                    settings=settings if own_arm else None,
                    seed=options.seed,
                )
            )
    return Judged(model, cases, Results(results=tuple(results)), frozenset(rival_names), options)


def predictor(model: Model, task: str, options: Options) -> Predictor:
    """The model as evaluation wants it: queries and a seed in, annotations out."""

    def answer(queries: Sequence[Query], seed: int) -> list[Annotation]:
        return [p.annotation for p in model.stream(queries, task, replace(options, seed=seed))]

    return answer


def _settings(model: Model, task: str, options: Options) -> dict[str, str | int]:
    """What stands beside every score of the model."""
    config = model.parts.config
    _, way = model.task(task, options.route)
    return {
        "route": way,
        "steps": (options.steps or config.steps) if way == "denoise" else 1,
        "ensemble": options.ensemble,
        "dtype": str(next(model.parts.backbone.parameters()).dtype).removeprefix("torch."),
        "resolution": config.resolution if options.res is None else options.res,
    }


def _cases(model: Model, name: str, protocol: str, task: str, data: str, split: str) -> list[Case]:
    asked = list(model.tasks) if task == "all" else task.split(",")
    for each in asked:
        model.task(each)
    if not protocol:
        where = data or _data_of_run(name)
        if not where:
            raise UsageError(f"Nothing to judge on; give --protocol ({', '.join(PROTOCOLS)}) or --data DIR.")
        return [_own_case(where, split, each) for each in asked]
    known = {each.task: each for each in pick(PROTOCOLS, protocol, "protocol")}
    chosen = [each for each in asked if each in known] if task == "all" else asked
    if not chosen:
        raise UsageError(f"Protocol {protocol} judges {', '.join(known)}, but the model learnt {', '.join(asked)}.")
    return [_case(pick(known, each, f"task of protocol {protocol}"), data, name) for each in chosen]


def _own_case(where: str, split: str, task: str) -> Case:
    reader = open_data(where, split, (task,))
    return Case(own(reader, task, split), reader, _training(where, task, (64, 64)))


def _case(protocol: Protocol, data: str, name: str) -> Case:
    if protocol.data == "scenes":
        size = protocol.size or (64, 64)
        reader = open_data(f"scenes:{protocol.count}", protocol.split, (protocol.truth,), size=size)
        return Case(protocol, reader, _training("scenes", protocol.truth, size))
    where = data or _find(protocol.data, name)
    reader = open_data(where, protocol.split, (protocol.truth,))
    return Case(protocol, reader, _training(where, protocol.truth, (64, 64)))


def _training(where: str, truth: str, size: tuple[int, int]) -> Reader | None:
    """The training split, or None where the data have none."""
    try:
        reader = open_data(where if where != "scenes" else f"scenes:{TRAINING_IMAGES}", "train", (truth,), size=size)
    except DataError:
        return None
    return subset(reader, min(len(reader), TRAINING_IMAGES))


def _find(data: str, name: str) -> str:
    """Where a protocol's data lie: the run's own data folder if it is that, else the data folder's."""
    trained_on = _data_of_run(name)
    if Path(trained_on).name == data:
        return trained_on
    if os.environ.get("DENOISIGHT_DATA_DIR") or os.environ.get("BASE_DATA_DIR"):
        return data
    raise DataError(f"The images of {data} were not found; give their folder with --data, or set DENOISIGHT_DATA_DIR.")


def _data_of_run(name: str) -> str:
    config = Path(name) / "config.yaml"
    return str(read_yaml(config).get("data", "")) if config.exists() else ""


def _progress(label: str, quiet: bool) -> Callable[[Sequence[Any]], Any]:
    return lambda chunks: tqdm(chunks, desc=label, disable=quiet or None, leave=False)
