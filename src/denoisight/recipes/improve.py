"""Diff-2-in-1 in one command: warm up, create, improve; each stage a folder that a second call leaves as it is."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..annotations import Batch
from ..create.annotate import Annotating
from ..create.filters import Filters
from ..create.pairs import Maker, Variation, check_captions
from ..create.shards import Slices, write_shards
from ..data.augment import fit
from ..data.open import open_data, subset
from ..data.shards import reasons, write_manifest
from ..errors import UsageError
from ..predict.load import load
from ..predict.model import task_of
from ..runtime import versions, whole_folder, write_json, write_text
from ..train.objectives import ReadoutObjective
from ..train.watch import Signature, cosines, pulling_apart, signatures, validations
from .base import Recipe, override
from .improve_page import PAGE, PLAN, REPORT, write_improve_page
from .launch import train

log = logging.getLogger(__name__)

WARM_SHARE, CREATE_SHARE, ADAPT_SHARE = 0.35, 0.6, 0.3
"""Of what is left of the time: for the warm-up, for creating, and before both for the network's own adaptation."""
FEW = 10
"""Sources that a shard is made from, so that creating can end in good time."""


@dataclass(frozen=True)
class Plan:
    """What is done: a warm-up, then `rounds` of creating pictures with the best model so far and learning from them.

    `warm_up` and `improving` are whole recipes but for what the stages hand to each other. `adapt`, where it is given,
    comes first: the network learns to create pictures like those of the data, without any truth. With `max_time`
    seconds each stage gets a share of what is left; without, all takes as long as it takes.
    """

    warm_up: Recipe
    improving: Recipe
    variation: Variation = Variation()
    adapt: Recipe | None = None
    rounds: int = 1
    captions: str = "text"
    filters: Filters = Filters()
    max_time: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"{self.rounds} rounds were asked for; give 1 or more.")

    def told(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        recipes = {"warm_up": self.warm_up, "improving": self.improving, "adapt": self.adapt}
        told = {name: recipe and recipe.model_dump(mode="json") for name, recipe in recipes.items()}
        rest = {"rounds": self.rounds, "captions": self.captions, "max_time": self.max_time}
        return json.loads(
            json.dumps({**told, "variation": asdict(self.variation), "filters": asdict(self.filters), **rest})
        )


class Improved(NamedTuple):
    """The best model's folder, the stage that it is from, validation scores by stage, and what went wrong."""

    model: Path
    best: str
    scores: Mapping[str, Mapping[str, float]]
    signatures: tuple[Signature, ...]


def improve(plan: Plan, out: Path | str, *, overwrite: bool = False, quiet: bool = False) -> Improved:
    """Warm up, create, improve, and keep the best averaged weights by validation in `out/model`.

    `out` holds plan.json, a folder for each stage, stages.jsonl with the cost of each, improve.json, improve.html. The
    same call goes on where an earlier one stopped. Raises `UsageError` where `out` holds another plan, unless to be
    overwritten.
    """
    out = Path(out)
    _claim(out, plan, overwrite)
    stages = _Stages(out, plan.max_time)
    model = plan.warm_up.model
    if plan.adapt:
        stages.train("adapt", plan.adapt, ADAPT_SHARE, quiet)
        model = str(out / "adapt")
    trained = [stages.train("warm-up", override(plan.warm_up, {"model": model}), WARM_SHARE, quiet)]
    for turn in range(1, plan.rounds + 1):
        best = min(trained, key=_badness)
        pictures = stages.create(f"created-{turn}", plan, best, turn, plan.rounds)
        changes: dict[str, object] = {"model": str(best), "self_teaching": {"pictures": str(pictures)}}
        left = 1 / (plan.rounds - turn + 1)
        trained.append(stages.train(f"improved-{turn}", override(plan.improving, changes), left, quiet))
    done = _finish(plan, out, trained, stages)
    _draw(out, plan.warm_up.device)
    return done


class _Stages:
    """Runs what is not done yet, and writes down what each stage cost."""

    def __init__(self, out: Path, max_time: float | None) -> None:
        self.out = out
        self.max_time = max_time
        path = out / "stages.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.done = {line["stage"]: line for line in map(json.loads, lines)}

    def left(self) -> float:
        """Seconds of the time that is allowed."""
        spent = sum(line["seconds"] for line in self.done.values())
        return max((self.max_time or 0.0) - spent, 1.0)

    def train(self, name: str, recipe: Recipe, share: float, quiet: bool) -> Path:
        folder = self.out / name
        if self.max_time and not recipe.max_time:
            recipe = override(recipe, {"max_time": f"{self.left() * share:.0f}s"})
        resume = "latest" if (folder / "config.yaml").is_file() else None

        def work() -> dict[str, Any]:
            done = train(recipe, folder, resume=resume, quiet=quiet)
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            steps = max((json.loads(line)["step"] for line in lines), default=0)
            return {"steps": steps, "images": steps * recipe.batch, "best_step": done.best.get("step")}

        self.run(name, work)
        return folder

    def create(self, name: str, plan: Plan, model: Path, turn: int, rounds: int) -> Path:
        """Shards of pictures like the labelled ones, by the best model so far; with a time limit, as many as fit."""
        folder = self.out / name

        def work() -> dict[str, Any]:
            until = time.monotonic() + self.left() * CREATE_SHARE / (rounds - turn + 1)
            maker = _maker(plan, model, turn)
            check_captions(maker)
            slices, lines = Slices.of(maker, FEW * plan.variation.per_image), []
            for line in write_shards(maker, folder, slices, range(len(slices))):
                lines.append(line)
                if self.max_time and time.monotonic() > until:
                    break
            write_manifest(folder)
            made = sum(line.made for line in lines)
            guided = 2 if maker.variation.guidance else 1
            counts = {"made": made, "pairs": sum(line.pairs for line in lines), "dropped": reasons(lines)}
            return {**counts, "network_passes": made * maker.variation.steps * guided}

        self.run(name, work)
        return folder

    def run(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do it, unless it is done, and note wall time, counts and the process's peak memory so far."""
        if name in self.done:
            log.info("%s is done already.", name)
            return
        log.info("Stage %s.", name)
        began = time.monotonic()
        told = work()
        line = {"stage": name, "seconds": round(time.monotonic() - began, 1), **told, "peak_mb": _peak_mb()}
        self.done[name] = line
        write_text(self.out / "stages.jsonl", "".join(json.dumps(line) + "\n" for line in self.done.values()))


def _maker(plan: Plan, folder: Path, turn: int) -> Maker:
    """Makes pictures of the labelled ones; what it labels them with is only used with `labels: own`."""
    recipe = plan.warm_up
    model = load(folder, recipe.device)
    source = open_data(recipe.data, "train", size=(recipe.res or model.parts.config.resolution,) * 2)
    source = subset(source, recipe.labels) if recipe.labels else source
    variation = Variation(**{**asdict(plan.variation), "seed": plan.variation.seed + turn - 1})
    return Maker(
        model, source, variation, Annotating(tasks=recipe.tasks, route=recipe.route), plan.filters, plan.captions
    )


def _claim(out: Path, plan: Plan, overwrite: bool) -> None:
    path = out / PLAN
    if overwrite and out.is_dir():
        shutil.rmtree(out)
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != plan.told():
            raise UsageError(
                f"{out} was begun by another plan; add --overwrite to replace it, or choose another folder."
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; add --overwrite, or choose another folder.")
    write_json(path, plan.told())


def _finish(plan: Plan, out: Path, trained: Sequence[Path], stages: _Stages) -> Improved:
    """The best averaged weights, and the report."""
    best = {folder.name: validations(folder) for folder in trained}
    chosen = min(trained, key=_badness)
    with whole_folder(out / "model") as new:
        shutil.copytree(chosen / "model", new, dirs_exist_ok=True)
    seen = [(folder.name, sign) for folder in trained[1:] for sign in signatures(best[folder.name])]
    seen += [(chosen.name, sign) for sign in pulling_apart(_angles(plan, chosen))]
    for stage, sign in seen:
        log.warning("%s: %s", stage, sign)
    scores = {name: _best(rows) for name, rows in best.items()}
    write_json(
        out / REPORT,
        {
            "format": 1,
            "best": chosen.name,
            "validation": scores,
            "last_validation": {name: rows[-1] for name, rows in best.items()},
            "signatures": [{"stage": stage, **sign._asdict()} for stage, sign in seen],
            "stages": list(stages.done.values()),
            "versions": versions(),
        },
    )
    return Improved(out / "model", chosen.name, scores, tuple(sign for _, sign in seen))


def _draw(out: Path, device: str) -> None:
    """A page that cannot be drawn takes nothing away from what was learnt."""
    try:
        write_improve_page(out, out / PAGE, device)
    except Exception as error:
        log.warning("%s was not drawn (%s). Draw it with: denoisight report %s", out / PAGE, error, out)


def _badness(folder: Path) -> float:
    """Of a stage's averaged weights at their best."""
    return min(row["val/badness"] for row in validations(folder))


def _best(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The scores of the averaged weights at their best, and of the raw ones ("raw/...") at the same time."""
    row = min(rows, key=lambda row: row["val/badness"])
    return {name: value for name, value in row.items() if "/" in name and "badness" not in name}


def _angles(plan: Plan, folder: Path) -> dict[tuple[str, str], float]:
    """Between the gradients of the tasks' losses at what they share, on one batch of the labelled pictures."""
    recipe = plan.warm_up
    if len(recipe.tasks) < 2 or recipe.route != "readout":
        return {}
    parts = load(folder, "cpu").parts
    made = [task_of(entry) for entry in parts.config.reads]
    reader = open_data(recipe.data, "train", [task.truth for task in made], size=(parts.config.resolution,) * 2)
    size = parts.backbone.fitting_size(*reader[0].size, parts.config.resolution)
    count = min(recipe.batch, len(reader))
    batch = Batch.of([fit(reader[i].only([task.truth for task in made]), size) for i in range(count)])
    parts.backbone.requires_grad_(False)
    objective = ReadoutObjective(parts, made)
    losses = objective.losses(batch, objective.features(batch), seed=0, step=0)
    shared = list(parts.heads.neck.parameters())  # type: ignore[union-attr]
    return cosines({task.name: losses[task.name] for task in made}, shared)


def _peak_mb() -> int:
    """Of this process so far: on a GPU of its memory there, else of its own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
