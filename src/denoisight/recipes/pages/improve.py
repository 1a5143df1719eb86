"""The page of an improvement: what was done, both sets of weights beside each other, created images with labels.

It is made of what lies in the folder alone, so that it can be drawn again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluate.judges import METRICS
from ...evaluate.results import Score
from ...metrics import Metric
from ...report.curves import learning_curves
from ...report.page import Page, Plot, write_page
from ...report.tables import Arm, Cell, Table, compare
from ...train.validate import CHOOSE_BY
from ...train.watch import validations
from ..record import data_name
from .improve_pictures import created_panels

PLAN, REPORT, PAGE = "plan.json", "improve.json", "improve.html"
AVERAGED, RAW = "averaged (theta_C)", "raw (theta_E)"


@dataclass(frozen=True)
class Told:
    """What an improvement's folder says of itself: its plan.json, and its improve.json."""

    folder: Path
    plan: Mapping[str, Any]
    report: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Told:
        """Raises `DataError` where no improvement has ended."""
        try:
            plan, report = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (PLAN, REPORT))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder} is no finished improvement ({error}); end it with the same `denoisight improve` again."
            ) from error
        return cls(folder, plan, report)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.plan["warm_up"]["tasks"])

    @property
    def created(self) -> list[Mapping[str, Any]]:
        """The stages that made images."""
        return [stage for stage in self.report["stages"] if "made" in stage]


def write_improve_page(folder: Path, out: Path, device: str = "auto") -> Path:
    """Draw an improvement's page into the file `out`. Raises `DataError` where no improvement has ended."""
    write_page(out, improve_page(Told.read(folder), device))
    return out


def improve_page(told: Told, device: str = "auto") -> Page:
    names = [stage["stage"] for stage in told.created]
    panels, missing = created_panels(told.folder, names, told.plan["warm_up"], device)
    return Page(
        title=f"Improving on created images: {', '.join(told.tasks)}",
        lead=_lead(told),
        command=_command(told.folder),
        facts=_facts(told),
        tables=(_stages(told), *_scores(told), _pairs(told), *_looks(told)),
        plots=tuple(_plots(told)),
        panels=panels,
        notes=(*_troubles(told), *missing, *_noted(told), _use(told)),
    )


def _lead(told: Told) -> str:
    best, scores = told.report["best"], told.report["validation"]
    first = next(iter(scores))
    parts = []
    for task in told.tasks:
        name = f"val/{task}/{CHOOSE_BY[task][0]}"
        before = "" if best == first else f" ({_number(scores[first][name])} after the {first})"
        parts.append(f"{task}: {CHOOSE_BY[task][0]} {_number(scores[best][name])}{before}")
    kept = f"Kept: the averaged weights of {best}"
    if best == first:
        kept += ", since no stage after it did better on the validation images"
    count = len(told.report["signatures"])
    trouble = f" {count} sign{'s' * (count > 1)} of trouble; see the notes." if count else ""
    return f"{kept}. {'; '.join(parts)}.{trouble}"


def _command(folder: Path) -> str:
    """The call that began it."""
    env = json.loads((folder / "warm-up" / "env.json").read_text(encoding="utf-8"))
    return " ".join(["denoisight", *env["command"][1:]])


def _facts(told: Told) -> dict[str, str]:
    """The plan in a few lines."""
    plan, warm, improving, variation = (
        told.plan, told.plan["warm_up"], told.plan["improving"], told.plan["variation"],
    )  # fmt: skip
    teaching, (low, high) = improving["self_teaching"], variation["noise_level"]
    guidance = variation["guidance"]
    facts = {
        "kept": f"{told.report['best']}, in {told.folder / 'model'}",
        "labelled images": data_name(warm["data"]) + (f", {warm['labels']} of them" if warm["labels"] else ""),
        "started from": str(warm["model"]),
        "adaptation": plan["adapt"] and f"{plan['adapt']['max_time']} without labels",
        "learns": f"{warm['route']}, network {warm['backbone']}",
        "warm-up": f"up to {warm['steps']} steps of {warm['batch']} images",
        "improving": f"up to {improving['steps']} steps of {improving['batch']} images",
        "rounds": plan["rounds"],
        "created images": f"{variation['per_image']} of each, {variation['steps']} steps of {variation['sampler']}",
        "noise": f"{variation['noise']}, level {low:g}" + (f" to {high:g}" if high > low else ""),
        "captions": plan["captions"],
        "guidance": "" if guidance is None else f"{guidance:g}",
        "avoided": ", ".join(variation["avoid"]),
        "labels of created images": _labels(teaching, warm["route"]),
        "judge": plan.get("judge", ""),
        "time limit": plan["max_time"] and _time(plan["max_time"]),
        "seed": warm["seed"],
        "precision": warm["precision"],
        "versions": ", ".join(f"{name} {version}" for name, version in told.report["versions"].items()),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def _labels(teaching: Mapping[str, Any], route: str) -> str:
    """Who says what a created image shows, and how much it counts."""
    by = "averaged weights, anew each time" if teaching["labels"] == "average" else "made with the images"
    sure = f", where at least {teaching['confidence']:g} sure" if teaching["confidence"] else ""
    mirrored = ", of mirror images as well" if teaching.get("mirror") and route == "readout" else ""
    return f"{by}{mirrored}, weight {teaching['weight']:g}{sure}"


def _stages(told: Told) -> Table:
    def number(stage: Mapping[str, Any], *names: str) -> str:
        value = next((stage[name] for name in names if stage.get(name) is not None), None)
        return "–" if value is None else f"{value:,}"

    rows = tuple(
        (
            Cell(stage["stage"], "kept" if stage["stage"] == told.report["best"] else ""),
            Cell(_time(stage["seconds"])),
            Cell(number(stage, "images", "made")),
            Cell(number(stage, "network_passes")),
            Cell(number(stage, "steps")),
            Cell(number(stage, "best_step")),
            Cell(f"{stage['peak_mb']:,} MB"),
        )
        for stage in told.report["stages"]
    )
    columns = ("stage", "wall time", "images", "network passes", "steps", "best step", "peak memory")
    note = (
        "Images: learnt from, repeats counted, or created. Network passes: of an image each, to learn, to validate, to "
        "create, to label and to judge; what is remembered of an image takes none. Best step: that of the averaged "
        "weights' best validation; 0 is what the stage started from. Peak memory: in this stage, or of the process up "
        "to then where the system does not forget; on a GPU of its memory there."
    )
    return Table("Stages", columns, rows, note)


def _scores(told: Told) -> list[Table]:
    """Both sets of weights of every stage, where the averaged ones were best and at the end."""
    note = "On the validation images, by which the best stage is chosen: compare on others what was kept."
    tables = []
    for title, rows in (("at each stage's best step", "validation"), ("at each stage's end", "last_validation")):
        arms = [arm for stage, row in told.report[rows].items() for arm in _arms(stage, row)]
        tables.append(compare(f"Validation, {title}", arms, note))
    return tables


def _arms(stage: str, row: Mapping[str, Any]) -> Iterator[Arm]:
    for kind, weights in (("val", AVERAGED), ("raw", RAW)):
        found = {name.split("/", 1)[1]: row[name] for name in row if name.startswith(f"{kind}/")}
        scores = {name.replace("/", " "): Score.of(value, value, value) for name, value in found.items() if "/" in name}
        if scores:
            bare = {name: score.model_copy(update={"low": None, "high": None}) for name, score in scores.items()}
            yield Arm(f"{stage}, {weights}", bare, {name: _metric(name) for name in scores})


def _metric(name: str) -> Metric:
    """What a score is measured in, by "TASK METRIC"; "create loss" is of making the held-out images themselves."""
    task, metric = name.split(" ", 1)
    return METRICS[task][metric] if task in METRICS else Metric("squared error", "lower")


def _pairs(told: Told) -> Table:
    """What became of the created images of each round."""
    created = told.created
    reasons = dict.fromkeys(reason for stage in created for reason in stage["dropped"])
    counts = {
        "created": [stage["made"] for stage in created],
        "kept": [stage["pairs"] for stage in created],
        **{f"dropped: {reason}": [stage["dropped"].get(reason, 0) for stage in created] for reason in reasons},
    }
    rows = tuple((Cell(name), *(Cell(f"{count:,}") for count in row)) for name, row in counts.items())
    note = "" if reasons else "No image was dropped."
    return Table("Created images", ("", *(stage["stage"] for stage in created)), rows, note)


def _looks(told: Told) -> list[Table]:
    """What each round's images are beside real ones, and what the judge makes of their labels."""
    seen = [stage for stage in told.report["stages"] if "agreement" in stage]
    if not seen:
        return []
    agreed = dict.fromkeys(task for stage in seen for task in stage["agreement"])
    columns = ("", "KID", "among real ones", *(f"judge: {task}, {CHOOSE_BY[task][0]}" for task in agreed))
    rows = tuple(
        (
            Cell(stage["stage"]),
            Cell(_bounds(stage.get("kid", ()))),
            Cell(_bounds(stage.get("precision", ()))),
            *(Cell(_bounds(stage["agreement"].get(task, ()))) for task in agreed),
        )
        for stage in seen
    )
    note = (
        "KID: distance of images created from one half of the labelled ones to the other half, in the features of the "
        "network that all began with; among real ones: the share of them that lies among these (precision). Brackets: "
        "95 % intervals. A judge is a model that learnt elsewhere (--judge); judged-after is of what is seen in images "
        "of the last round after it."
    )
    return [Table("Created images beside real ones", columns, rows, note)]


def _bounds(values: Sequence[float | None]) -> str:
    """A value with its interval, as far as they are known."""
    known = [_number(value) for value in values if value is not None]
    if not known:
        return "–"
    return f"{known[0]} [{known[1]}, {known[2]}]" if len(known) == 3 else known[0]


def _plots(told: Told) -> Iterator[Plot]:
    """The deciding scores against the step, stage by stage."""
    folders = [told.folder / stage["stage"] for stage in told.report["stages"] if "made" not in stage]
    found = {folder.name: validations(folder) for folder in folders if (folder / "metrics.jsonl").is_file()}
    every = [name[4:] for rows in found.values() for name in rows[0] if name.startswith("val/") and name.count("/") > 1]
    for name in dict.fromkeys(every):
        for stage, rows in found.items():
            if f"val/{name}" in rows[0]:
                yield _plot(name.replace("/", " "), stage, _curves(rows, name))


def _curves(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[dict[str, Any]]]:
    """Of both sets of weights, where the stage looked at both."""
    kinds = {AVERAGED: f"val/{name}", RAW: f"raw/{name}"}
    told = {kind: [{"step": row["step"], "score": row.get(key)} for row in rows] for kind, key in kinds.items()}
    return {kind: points for kind, points in told.items() if points[0]["score"] is not None}


def _plot(name: str, stage: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Plot:
    label = f"{name} ({_metric(name).unit})" if name.split()[0] in METRICS else name
    named = {kind: [{"step": p["step"], label: p["score"]} for p in points] for kind, points in curves.items()}
    alt = f"{label} on the validation images against the step of {stage}, of {' and '.join(curves)} weights."
    return Plot(f"{stage}: {name}", learning_curves(named, label), alt)


def _troubles(told: Told) -> Iterator[str]:
    for sign in told.report["signatures"]:
        where = f"{sign['stage']}: " if sign.get("stage") else ""
        yield f"Trouble. {where}{sign['seen']} What helps: {sign['remedy']}"


def _noted(told: Told) -> Iterator[str]:
    """What is to be said of the looks at each round's images."""
    for stage in told.report["stages"]:
        yield from (f"{stage['stage']}: {note}" for note in stage.get("notes", ()))


def _use(told: Told) -> str:
    return f"How to use what was kept: denoisight predict PHOTOS --model {told.folder / 'model'} -o out"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
