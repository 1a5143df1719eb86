"""Diff-2-in-1 in one command: warm up, create, improve; each stage a folder that a second call leaves as it is."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..annotations import Batch
from ..create.annotate import Annotating
from ..create.filters import Filters
from ..create.pairs import Maker, check_captions
from ..create.variation import Variation
from ..data.augment import fit
from ..data.open import folder_of, open_data, subset
from ..data.readers import Reader
from ..errors import DataError, UsageError, shortlist
from ..predict.load import load
from ..predict.model import Model, task_of
from ..runtime import use_threads, versions, whole_folder, world, write_json
from ..tasks import make_tasks
from ..train.objectives import ReadoutObjective
from ..train.watch import Signature, cosines, forgetting, going_astray, pulling_apart, signatures, validations
from .base import Recipe, override
from .improve_looks import FEW, MOST, Looks
from .improve_stages import Stages
from .objective import check_route
from .pages.improve import PAGE, PLAN, REPORT, write_improve_page
from .record import remove_run
from .self_teaching import check_doubts, check_self_teaching
from .start import starting_parts

log = logging.getLogger(__name__)

WARM_SHARE, CREATE_SHARE, ADAPT_SHARE, JUDGE_SHARE = 0.35, 0.6, 0.3, 0.1
"""Of what is left of the time: for the warm-up, for creating, before both for the network's own adaptation, and after
all for a judge's last look."""
AFTER = "judged-after"
"""The stage in which a judge looks at what was learnt from the last pictures."""


@dataclass(frozen=True)
class Plan:
    """What is done: a warm-up, then `rounds` of creating pictures with the best model so far and learning from them.

    `warm_up` and `improving` are whole recipes but for what the stages hand to each other. `adapt`, where it is given,
    comes first: the network learns to create pictures like those of the data, without any truth. With `max_time`
    seconds each stage gets a share of what is left; without, all takes as long as it takes. `judge` is a model that
    learnt elsewhere and says in each round, and once more in the end, how far it agrees with the created labels.
    """

    warm_up: Recipe
    improving: Recipe
    variation: Variation = Variation()
    adapt: Recipe | None = None
    rounds: int = 1
    captions: str = "text"
    filters: Filters = Filters()
    max_time: float | None = None
    judge: str = ""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"{self.rounds} rounds were asked for; give 1 or more.")
        if self.adapt and self.max_time and (self.adapt.max_seconds or 0) >= self.max_time:
            raise UsageError(
                f"Learning to create would take {self.adapt.max_time}, which is all of the time that there is; give "
                "less time to --adapt-time, or more to --max-time."
            )

    def told(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        recipes = {"warm_up": self.warm_up, "improving": self.improving, "adapt": self.adapt}
        told = {name: recipe and recipe.model_dump(mode="json") for name, recipe in recipes.items()}
        rest = {"rounds": self.rounds, "captions": self.captions, "max_time": self.max_time, "judge": self.judge}
        return json.loads(
            json.dumps({**told, "variation": asdict(self.variation), "filters": asdict(self.filters), **rest})
        )

    def source(self, resolution: int = 64) -> Reader:
        """The labelled pictures that are varied; where captions are of labels, those of them with some classes."""
        recipe, size = self.warm_up, (self.warm_up.res or resolution,) * 2
        truths = [task.truth for task in make_tasks(recipe.tasks, ("any",))]
        reader = open_data(recipe.data, "train", truths, size=size)
        reader = subset(reader, recipe.labels) if recipe.labels else reader
        if self.captions != "labels" or "semantic" in reader.truths:
            return reader
        known, remedy = set(reader.keys), "Captions of labels are made of semantic ones; give --captions FILE, or none."
        try:
            named = open_data(recipe.data, "train", [*truths, "semantic"], size=size)
        except DataError as error:
            raise DataError(f"{error} {remedy}") from error
        if not (chosen := [place for place, key in enumerate(named.keys) if key in known]):
            raise DataError(f"None of the {len(reader)} labelled pictures has semantic labels. {remedy}")
        return subset(named, chosen)

    @property
    def annotating(self) -> Annotating:
        """How created pictures are labelled, which is only learnt from with `labels: own`."""
        own, route = self.improving.self_teaching, self.warm_up.route
        return Annotating(self.warm_up.tasks, route, mirror=own.mirror and own.labels == "own" and route == "readout")

    def maker(self, model: Model, turn: int = 1) -> Maker:
        """Makes pictures of the labelled ones."""
        variation = replace(self.variation, seed=self.variation.seed + turn - 1)
        source = self.source(model.parts.config.resolution)
        return Maker(model, source, variation, self.annotating, self.filters, self.captions)

    def maker_of(self, folder: Path, turn: int) -> Maker:
        """The same by the model in a folder."""
        return self.maker(load(folder, self.warm_up.device), turn)


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
    use_threads(plan.warm_up.threads)  # which settings of created pictures hold, too
    resolution = _check(plan)
    _claim(out, plan, overwrite)
    stages, device = Stages(out, plan.max_time, quiet), plan.warm_up.device
    model = plan.warm_up.model
    if plan.adapt:
        model = str(stages.train("adapt", plan.adapt, ADAPT_SHARE))
    most = FEW if plan.max_time else MOST
    looks = Looks(plan.source(resolution), model, plan.judge, device, most, plan.warm_up.allow_pickle)
    trained = [stages.train("warm-up", override(plan.warm_up, {"model": model}), WARM_SHARE)]
    for turn in range(1, plan.rounds + 1):
        best, left = min(trained, key=_badness), 1 / (plan.rounds - turn + 1)
        pictures = stages.create(f"created-{turn}", partial(plan.maker_of, best, turn), CREATE_SHARE * left)
        stages.judge(f"judged-{turn}", partial(looks.at, pictures))
        changes: dict[str, object] = {"model": str(best), "self_teaching": {"pictures": str(pictures)}}
        share = left * (1 - JUDGE_SHARE) if plan.judge else left
        trained.append(stages.train(f"improved-{turn}", override(plan.improving, changes), share))
    if plan.judge:
        stages.judge(AFTER, partial(looks.after, pictures, trained[-1], plan.annotating))
    done = _finish(plan, out, trained, stages)
    _draw(out, device)
    return done


def _check(plan: Plan) -> int:
    """The side in pixels at which is worked. Raises, before anything is begun, what a stage would raise of the model,
    the tasks, the data or the words."""
    if (ranks := world()[1]) > 1:
        raise UsageError(
            f"{ranks} processes were started, but improve is for one; let them share its stages one by one, as "
            "docs/scale-out.md tells."
        )
    learning = override(plan.improving, {"self_teaching": {"pictures": "created"}})
    for recipe in filter(None, (plan.adapt, plan.warm_up, learning)):
        check_route(recipe)
    check_self_teaching(learning)
    source = plan.source()
    if plan.adapt:
        starting_parts(plan.adapt, source)
    parts = starting_parts(plan.warm_up, source)
    if plan.adapt and plan.warm_up.route == "readout":
        parts = parts.with_config(creates=True)
    maker = plan.maker(Model(parts))
    check_captions(maker)
    if plan.judge and not (able := set(load(plan.judge, plan.warm_up.device).tasks)) & set(maker.tasks):
        raise UsageError(
            f"The judge {plan.judge} knows {shortlist(sorted(able)) or 'no task'}, but {', '.join(maker.tasks)} "
            "are learnt; take another, or leave --judge out."
        )
    if plan.improving.self_teaching.confidence:
        check_doubts(maker.undoubted, len(maker.tasks), "--min-confidence")
    return parts.config.resolution


def _claim(out: Path, plan: Plan, overwrite: bool) -> None:
    path = out / PLAN
    if overwrite and out.is_dir():
        remove_run(out, PLAN, (plan.warm_up.model, folder_of(plan.warm_up.data), plan.judge, plan.captions))
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != plan.told():
            raise UsageError(
                f"{out} was begun by another plan; add --overwrite to replace it, or choose another folder."
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} holds other things than an improvement; choose another folder.")
    write_json(path, plan.told())


def _finish(plan: Plan, out: Path, trained: Sequence[Path], stages: Stages) -> Improved:
    """The best averaged weights, and the report."""
    best = {folder.name: validations(folder) for folder in trained}
    chosen = min(trained, key=_badness)
    with whole_folder(out / "model") as new:
        shutil.copytree(chosen / "model", new, dirs_exist_ok=True)
    refused = _refused(plan)
    seen = [(folder.name, sign) for folder in trained[1:] for sign in signatures(best[folder.name], refused)]
    seen += [(chosen.name, sign) for sign in pulling_apart(_angles(plan, chosen))]
    if judged := [line for line in stages.done if "kid" in line]:
        seen += [(judged[-1]["stage"], sign) for sign in going_astray(judged, refused)]
    # Of the last pictures, before and after they were learnt from.
    before, after = (stages.lines.get(name, {}).get("agreement", {}) for name in (f"judged-{plan.rounds}", AFTER))
    seen += [(trained[-1].name, sign) for sign in forgetting(before, after, refused)]
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
            "stages": stages.done,
            "versions": versions(),
        },
    )
    return Improved(out / "model", chosen.name, scores, tuple(sign for _, sign in seen))


def _refused(plan: Plan) -> set[str]:
    """Flags that such a plan does not take: an answer that is denoised comes without a doubt, labels of their own count
    whole."""
    of_reading = {"--weights", "--min-confidence"} if plan.warm_up.route == "denoise" else set()
    of_average = {"--self-teaching.weight"} if plan.improving.self_teaching.labels == "own" else set()
    return of_reading | of_average


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
    reader = plan.source(parts.config.resolution)
    size = parts.backbone.fitting_size(*reader[0].size, parts.config.resolution)
    count = min(recipe.batch, len(reader))
    batch = Batch.of([fit(reader[i].only([task.truth for task in made]), size) for i in range(count)])
    parts.backbone.requires_grad_(False)
    objective = ReadoutObjective(parts, made)
    losses = objective.losses(batch, objective.features(batch), seed=0, step=0)
    shared = list(parts.heads.neck.parameters())  # type: ignore[union-attr]
    return cosines({task.name: losses[task.name] for task in made}, shared)
