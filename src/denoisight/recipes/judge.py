"""A model before a protocol, beside the trivial baselines of its data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..annotations import Annotation, Query
from ..data.open import open_data, subset
from ..data.readers import Reader
from ..errors import DataError, DenoisightError, MissingExtraError, UsageError, pick
from ..evaluate.baselines import baselines
from ..evaluate.judges import judge_of
from ..evaluate.own import own
from ..evaluate.protocols import PROTOCOLS, Protocol, open_images
from ..evaluate.results import Result, Results
from ..evaluate.run import Candidate, Predictor, evaluate_all
from ..predict.model import Model
from ..predict.options import Options
from ..predict.prediction import Prediction
from ..runtime import item_seed
from ..tasks import TASKS
from ..tasks.instruct import INSTRUCT, paraphrase
from .base import read_yaml

TRAINING_IMAGES = 500
"""How many training images the baselines are made from, where there are more."""

RANDOM = "random"
"""The phrasing that is another one for every image."""


@dataclass(frozen=True, eq=False)
class Case:
    """One protocol, its images, and the training images that its baselines are made from, if there are any."""

    protocol: Protocol
    reader: Reader
    training: Reader | None


@dataclass(frozen=True, eq=False)
class Judged:
    """Results with what is needed to draw them; `notes` tell what was left out and why."""

    model: Model
    cases: tuple[Case, ...]
    results: Results
    baselines: frozenset[str]
    options: Options
    notes: tuple[str, ...] = ()
    phrasing: str = ""


def judge(
    model: Model,
    name: str,
    *,
    protocol: str = "",
    task: str = "all",
    data: str = "",
    split: str = "test",
    options: Options = Options(batch=16),  # noqa: B008
    phrasing: str = "",
    limit: int | None = None,
    partial: bool = False,
    quiet: bool = False,
    trivial: bool = True,
) -> Judged:
    """Judge by a named protocol, or by the `split` of the user's own `data`; `task` "all" is all that fit.

    `name` is what the model was called: a run folder tells where its data lie. `trivial`: beside the trivial
    baselines. `phrasing`: in which words the model is asked, see `ask`. Raises `UsageError` for a task that the
    protocol or the model lacks, `DataError` where the images are not found, `ProtocolError` for a part of them,
    `MissingExtraError` for a task whose scores need another package.
    """
    _check_phrasing(model, phrasing, options)
    cases, notes = find_cases(model, name, protocol, task, data, split)
    if options.mirror:
        _check_mirror(model, [case.protocol.task for case in cases], options)
    results: list[Result] = []
    rivals: set[str] = set()
    for case in cases:
        asked = case.protocol.task
        trivial_ones = baselines(case.protocol, case.training, images=case.reader) if trivial else {}
        rivals |= set(trivial_ones)
        settings = _settings(model, asked, options, phrasing)
        own_one = Candidate(predictor(model, asked, options, phrasing), model.weights_hash, settings)
        results += evaluate_all(
            {model.name: own_one, **{n: Candidate(rival) for n, rival in trivial_ones.items()}},
            case.protocol,
            case.reader,
            batch=options.batch,
            seed=options.seed,
            limit=limit,
            partial=partial,
            progress=progress_bar(asked, quiet),
        )
    return Judged(model, cases, Results(results=tuple(results)), frozenset(rivals), options, notes, phrasing)


def predictor(model: Model, task: str, options: Options, phrasing: str = "") -> Predictor:
    """The model as evaluation wants it: queries and a seed in, annotations out."""

    def answer(queries: Sequence[Query], seed: int) -> list[Annotation]:
        return [p.annotation for p in ask(model, queries, task, replace(options, seed=seed), phrasing)]

    return answer


def ask(
    model: Model, queries: Sequence[Query], task: str, options: Options, phrasing: str = ""
) -> Iterator[Prediction]:
    """The model's predictions of a task, asked for in its own prompt, or by `phrasing` in free words.

    `phrasing` is the number of a paraphrase of `tasks.instruct`, counted round, or "random" for one that hangs on the
    seed and the image's key. The model is then told nothing but the words, and must understand them as the task.
    """
    if not phrasing:
        return model.stream(queries, task, options)
    return model.stream([_phrased(query, task, options.seed, phrasing) for query in queries], INSTRUCT, options)


def _phrased(query: Query, task: str, seed: int, phrasing: str) -> Query:
    number = item_seed(seed, f"phrasing {query.key}") if phrasing == RANDOM else int(phrasing)
    # Some pictures have no phrase, and no pixel that is judged, but are asked all the same.
    return replace(query, text=paraphrase(task, query.text or "nothing", number))


def _template(task: str, phrasing: str) -> str:
    return RANDOM if phrasing == RANDOM else paraphrase(task, "{text}", int(phrasing))


def _check_phrasing(model: Model, phrasing: str, options: Options) -> None:
    """Raises `UsageError` for what is no phrasing, and where the model is not asked in words."""
    if not phrasing:
        return
    if phrasing != RANDOM and not phrasing.isdecimal():
        raise UsageError(f"There is no phrasing {phrasing!r}; give the number of a paraphrase, from 0, or {RANDOM}.")
    if not model.follows_instructions:
        raise UsageError(f"Model {model.name!r} was not taught to follow instructions; leave out --phrasing.")
    if options.route == "readout":
        raise UsageError("Only the denoising route hears words; leave out --phrasing or --route readout.")


def _check_mirror(model: Model, tasks: Sequence[str], options: Options) -> None:
    """Before anything is judged."""
    if denoised := [task for task in tasks if model.task(task, options.route)[1] == "denoise"]:
        raise UsageError(
            f"{', '.join(denoised)} would be denoised, and mirror images are for what is read out of features; name "
            "other tasks, take --route readout, or leave --mirror out."
        )


def _settings(model: Model, task: str, options: Options, phrasing: str) -> dict[str, str | int | float]:
    """What stands beside every score of the model."""
    config = model.parts.config
    _, way = model.task(task, options.route)
    stop_at = model.stop_at(task) if options.stop_at is None else options.stop_at
    return {
        "route": way,
        "steps": (options.steps or model.steps(task)) if way == "denoise" else 1,
        "ensemble": options.ensemble if way == "denoise" else 1,
        "dtype": str(next(model.parts.backbone.parameters()).dtype).removeprefix("torch."),
        "resolution": config.resolution if options.res is None else options.res,
        **({"stop_at": stop_at} if stop_at and way == "denoise" else {}),
        **({"mirror": True} if options.mirror else {}),
        **({"phrasing": _template(task, phrasing)} if phrasing else {}),
    }


def find_cases(
    model: Model, name: str, protocol: str, task: str, data: str, split: str
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """The cases that were asked for; of "all", those that can be judged, and notes on the others."""
    asked = list(model.tasks) if task == "all" else task.split(",")
    for each in asked:
        model.task(each)
    if protocol:
        known = {each.task: each for each in pick(PROTOCOLS, protocol, "protocol")}
        make = bind(_named_case, protocol, known, data, name)
    else:
        where = data or _data_of_run(name)
        if not where:
            raise UsageError(f"Nothing to judge on; give --protocol ({', '.join(PROTOCOLS)}) or --data DIR.")
        known, make = {}, bind(_own_case, where, split)
    if task != "all":
        return tuple(map(make, asked)), ()
    notes = []
    if unlearnt := [each for each in known if each not in asked]:
        notes.append(f"Left out {', '.join(unlearnt)}, which the model did not learn.")
    if protocol and (unjudged := [each for each in asked if each not in known]):
        notes.append(f"Left out {', '.join(unjudged)}, which {protocol} does not judge.")
        asked = [each for each in asked if each in known]
    if not asked:
        raise UsageError(f"Protocol {protocol} judges {', '.join(known)}, but the model learnt {', '.join(unjudged)}.")
    cases: list[Case] = []
    refused: list[DenoisightError] = []
    for each in asked:
        try:
            cases.append(make(each))
        except (UsageError, DataError, MissingExtraError) as error:
            refused.append(error)
            notes.append(f"Left out {each}: {error}")
    if not cases:
        raise refused[0]
    return tuple(cases), tuple(notes)


def _own_case(where: str, split: str, task: str) -> Case:
    """Raises `UsageError` for a task that is not judged, `DataError` where the data lack its truth."""
    truth = pick(TASKS, task, "task to judge")(("any",)).truth
    reader = open_data(where, split, (truth,))
    protocol = own(reader, task, split)
    judge_of(protocol).require()
    return Case(protocol, reader, _training(where, truth, (64, 64)))


def _named_case(protocol: str, known: Mapping[str, Protocol], data: str, name: str, task: str) -> Case:
    if task not in known:
        raise UsageError(f"Protocol {protocol} judges {', '.join(known)}, not {task}.")
    chosen = known[task]
    judge_of(chosen).require()
    scenes = chosen.data == "scenes"
    where = "scenes" if scenes else data or _find(chosen.data, name)
    return Case(chosen, open_images(chosen, where), _training(where, chosen.truth, chosen.size or (64, 64)))


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


def progress_bar(label: str, quiet: bool) -> Callable[[Sequence[Any]], Any]:
    """Wraps a list of batches; silent where `quiet`, and where nobody watches a terminal."""
    return lambda chunks: tqdm(chunks, desc=label, disable=quiet or None, leave=False)
