"""The stages of a study of self-improvement, each done once and found by whoever needs it, and its command line."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from studies import pool
from studies.teaching import JUDGE, JUDGED, JUDGES, ROOT, Cell, Study, hash_of
from studies.worlds import SceneWorld, World

DRAWS = 200
"""Lists of test images drawn with replacement, the same ones for every run."""

COST = ".cost.json"


def run(study: Study, jobs: int | None = None) -> None:
    """Do what is missing on `jobs` cores, earlier seeds first: warm-ups, then pictures, then the arms."""
    take_over(study)
    done = {(*row["key"], row["seed"]) for row in study.rows()}
    every = [Cell(study, arm, seed) for seed in study.seeds for arm in study.arms]
    cells = [cell for cell in every if (*cell.arm.key, cell.seed) not in done]
    print(f"{len(every) - len(cells)} runs are done, {len(cells)} to go.", flush=True)
    for task, found in pool.when_ready(tasks(cells), jobs):
        if task.work is train_and_score:
            pool.append(study.results, found)
            print(f"{task.makes}: {found['val']}, {found['cpu_s']} s", flush=True)
        else:
            print(f"{task.work.__name__}: {found:.0f} s", flush=True)


def take_over(study: Study) -> None:
    """What other studies did under the same settings is not done again; results of older studies may say less."""
    done = {(*row["key"], row["seed"]) for row in study.rows()}
    found = (row for path in sorted(study.folder.parent.glob("*/results.jsonl")) for row in pool.rows(path))
    known = {(row["arm"], row["seed"]): row for row in found if row.get("settings") == study.settings and "arm" in row}
    for seed in study.seeds:
        for arm in study.arms:
            if (*arm.key, seed) not in done and (arm.done_as, seed) in known:
                pool.append(study.results, {**known[arm.done_as, seed], "key": arm.key})


def tasks(cells: Sequence[Cell]) -> Iterator[pool.Task]:
    """All that these need, and then themselves."""
    before: tuple[str, ...] = ()
    for seed in dict.fromkeys(cell.seed for cell in cells):
        here = [cell for cell in cells if cell.seed == seed]
        informed = any(not cell.arm.labels or cell.arm.labelled_by == "all labels" for cell in here)
        # One after the other, since all of them look after what is common to all seeds.
        pictures = f"pictures of seed {seed}"
        yield pool.Task(pictures, prepare, (here[0].study.world, seed, informed), before)
        before = (pictures,)
        needed = [list(_needed(cell, pictures)) for cell in here]
        yield from itertools.chain(*needed)
        for cell, some in zip(here, needed, strict=True):
            makes = " ".join(map(str, (*cell.arm.key, seed)))
            yield pool.Task(makes, train_and_score, (cell,), (pictures, *(task.makes for task in some)))


def _needed(cell: Cell, pictures: str) -> Iterator[pool.Task]:
    arm, world, begun = cell.arm, cell.study.world, (pictures,)
    if world.adapt:
        yield pool.Task(Path(cell.creator), learn_to_create, (cell,), begun)
        begun = (pictures, Path(cell.creator))
    yield pool.Task(cell.warm, warm_up, (cell,), begun)
    if arm.pictures not in ("created", "annotated"):
        return
    yield pool.Task(cell.maker.warm, warm_up, (cell.maker,), begun)
    for turn in range(arm.rounds):
        yield pool.Task(cell.created(turn), create, (cell, turn), (cell.maker.warm,))
    if isinstance(world, SceneWorld):
        yield pool.Task(cell.judged, ask_judge, (cell,), (cell.created(0),))
    if arm.labelled_by == "all labels":
        yield pool.Task(cell.informed.warm, warm_up, (cell.informed,), begun)
    if arm.labelled_by == "several":
        yield from (pool.Task(member.warm, warm_up, (member,), begun) for member in cell.members)
    if arm.labelled_by in ("denoise", "both"):
        yield pool.Task(cell.denoising, warm_up_by_denoising, (cell,), begun)


def prepare(world: World, seed: int, everything: bool) -> float:
    """Pictures to learn from and to be judged on. Returns CPU seconds, here and below."""
    began = time.process_time()
    world.prepare(seed, everything)
    return time.process_time() - began


def learn_to_create(cell: Cell) -> float:
    """The creator, at home in the world's pictures."""
    return _once(Path(cell.creator), lambda folder: _train(cell.creating_recipe, folder))


def warm_up(cell: Cell) -> float:
    """Heads for the arm's tasks from its labels."""
    return _once(cell.warm, lambda folder: _train(cell.warm_recipe, folder))


def warm_up_by_denoising(cell: Cell) -> float:
    """A network that denoises truths, from the arm's labels."""
    return _once(cell.denoising, lambda folder: _train(cell.denoising_recipe, folder))


def create(cell: Cell, turn: int) -> float:
    """Pictures like the arm's labelled ones."""
    return _once(cell.created(turn), lambda folder: _write_created(cell, turn, folder))


def ask_judge(cell: Cell) -> float:
    """What is to be seen in the arm's pictures, by one that learnt elsewhere."""
    return _once(cell.judged, lambda folder: _write_judged(cell, folder))


def train_and_score(cell: Cell) -> dict[str, Any]:
    """One run: validation scores of the averaged weights and of the raw ones, test scores of the former; and how well
    the labels that it gives to created pictures fit what the judge sees there, before the first turn and after each."""
    arm, study = cell.arm, cell.study
    model, seconds = cell.warm, 0.0
    agreed = [_agreement(cell, model)]
    for turn in range(arm.rounds):
        if arm.pictures == "annotated":
            seconds += _once(cell.annotated(turn), lambda folder, turn=turn: _write_annotated(cell, turn, folder))
        recipe = cell.recipe(model, turn)
        model = ROOT / "arms" / hash_of(recipe.model_dump()) / "run"
        seconds += _once(model, lambda folder, recipe=recipe: _train(recipe, folder))
        agreed.append(_agreement(cell, model))
    own = {"key": arm.key, "arm": arm.done_as, "seed": cell.seed, "settings": study.settings, "steps": study.steps}
    scored = {**_validation(model), "scores": score(model, arm.tasks, study.world.tested)}
    agreement = {task: [each[task] for each in agreed] for task in agreed[0]}
    return {**own, "cpu_s": round(seconds), **scored, **({"agreement": agreement} if agreement else {})}


def _agreement(cell: Cell, model: Path) -> dict[str, float]:
    """By task, where pictures of the arm were judged."""
    if cell.arm.pictures not in ("created", "annotated") or not cell.judged.exists():
        return {}
    scored = score(model, [task for task in cell.arm.tasks if task in JUDGES], cell.judged)
    return {task: round(found["test"], 5) for task, found in scored.items()}


def score(model: Path, tasks: Iterable[str], tested: Path) -> dict[str, Any]:
    """Test scores of each task by the metric that decides for it, and what they are on lists drawn from the images."""
    from denoisight.data.open import open_data
    from denoisight.evaluate.own import own
    from denoisight.evaluate.run import count_arms
    from denoisight.predict.load import load
    from denoisight.predict.options import Options
    from denoisight.recipes.judge import predictor
    from denoisight.train.validate import CHOOSE_BY

    loaded, scored = load(model, "cpu"), {}
    reader = open_data(str(tested), "test")
    for task in tasks:
        protocol = own(reader, task, "test")
        answer = predictor(loaded, task, Options(batch=16, route="readout"))
        tally = count_arms({"": answer}, protocol, reader, range(len(reader)), batch=16)[""]
        metric = CHOOSE_BY[task][0]
        drawn = tally.resampled(protocol.pooling, resamples=DRAWS)[metric]
        scored[task] = {"test": tally.scores(protocol.pooling)[metric], "drawn": [float(f"{v:.5g}") for v in drawn]}
    return scored


def _write_created(cell: Cell, turn: int, folder: Path) -> None:
    from denoisight.create.filters import Filters
    from denoisight.create.pairs import Maker
    from denoisight.create.shards import Slices, write_shards
    from denoisight.create.variation import Variation
    from denoisight.data.open import open_data, subset
    from denoisight.data.shards import write_manifest
    from denoisight.predict.load import load

    source = subset(open_data(str(cell.labelled), "train"), cell.arm.labels)
    filters = Filters(**cell.arm.filters)
    model, variation = load(cell.maker.warm, "cpu"), Variation(**cell.variation(turn))
    maker = Maker(model, source, variation, filters=filters, captions=cell.study.captions)
    slices = Slices.of(maker, 100)
    for _ in write_shards(maker, folder, slices, range(len(slices))):
        pass
    write_manifest(folder)


def _write_annotated(cell: Cell, turn: int, folder: Path) -> None:
    from denoisight.create.annotate import Annotating, annotate
    from denoisight.data.open import open_data
    from denoisight.predict.load import load

    reader = open_data(str(cell.created(turn)), "all")
    queries = [reader[i].query for i in range(len(reader))]
    asked = [
        # Mirror images are for heads: the network that denoises normals takes them for what they are.
        (load(model, "cpu"), Annotating(cell.arm.tasks, way, mirror=way == "readout"))
        for way, model in cell.labellers
    ]
    found = [annotate(model, queries, how, batch=16) for model, how in asked]
    truth_of = {task: asked[0][0].task(task)[0].truth for task in cell.arm.tasks}
    truths = [
        {truth: _one([labels[task].annotation for labels in each]) for task, truth in truth_of.items()}
        for each in zip(*found, strict=True)
    ]
    # Nothing is judged on them: all are for training, and one is named for validation so that none is held out.
    keys = [query.key for query in queries]
    _write_labelled(folder, queries, truths, {"train": keys, "val": keys[:1]})


def _write_judged(cell: Cell, folder: Path) -> None:
    from denoisight.create.annotate import Annotating, annotate
    from denoisight.data.open import open_data
    from denoisight.predict.load import load

    reader, judge = open_data(str(cell.created(0)), "all"), load(JUDGE, "cpu")
    queries = [reader[i].query for i in range(0, len(reader), max(1, len(reader) // JUDGED))][:JUDGED]
    found = annotate(judge, queries, Annotating(JUDGES, "denoise"), batch=16)
    truths = [{judge.task(task)[0].truth: label.annotation for task, label in labels.items()} for labels in found]
    _write_labelled(folder, queries, truths, {"train": [], "test": [query.key for query in queries]})


def _write_labelled(folder: Path, queries: Sequence[Any], truths: Sequence[Any], splits: dict[str, list[str]]) -> None:
    from denoisight.annotations import Sample
    from denoisight.data.paired import write_pairs

    write_pairs(map(Sample, queries, truths), folder, exact=True)
    (folder / "splits.json").write_text(json.dumps(splits))


def _one(answers: Sequence[Any]) -> Any:
    """What one or several routes see, as one annotation."""
    from denoisight.annotations import stack
    from denoisight.predict.ensemble import agree

    return agree(stack(answers)).annotation if len(answers) > 1 else answers[0]


def _train(recipe: Any, folder: Path) -> None:
    from denoisight.recipes.launch import train

    train(recipe, folder, quiet=True)


def _validation(run: Path) -> dict[str, Any]:
    """Scores on validation scenes at the best step of the averaged weights, and of the raw ones then."""
    rows = [row for row in pool.rows(run / "metrics.jsonl") if "val/badness" in row]
    best = min(rows, key=lambda row: row["val/badness"])
    named = {kind: {n.split("/", 1)[1]: round(v, 5) for n, v in best.items() if n.startswith(f"{kind}/")}
             for kind in ("val", "raw")}  # fmt: skip
    return {"best_step": best["step"], **named}


def _once(folder: Path, make: Callable[[Path], None]) -> float:
    """Fill a folder that is whole or absent; what that cost stands in it, for whoever finds it there."""
    from denoisight.runtime import whole_folder

    if not folder.exists():
        began = time.process_time()
        with whole_folder(folder) as new:
            make(new)
            (new / COST).write_text(json.dumps(round(time.process_time() - began, 1)))
    return json.loads((folder / COST).read_text())
