"""The pages of an evaluation and of a training run, which is judged for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial as bind
from pathlib import Path

from ...data.open import subset
from ...errors import DataError, UsageError
from ...evaluate.results import Result, Results
from ...evaluate.steps import score_steps
from ...predict.load import load
from ...report.curves import denoising_curve, learning_curves
from ...report.page import Page, Plot, describe, write_page
from ...report.panels import Panels, choose, panel_legends, panel_row
from ...report.tables import format_score, score_tables
from ...train.validate import CHOOSE_BY
from ..base import read_yaml
from ..judge import Case, Judged, ask, judge
from ..record import is_scenes

CURVE_IMAGES = 32
"""How many images the curve over denoising steps is made from."""


def evaluation_page(judged: Judged, command: str) -> Page:
    """Scores beside baselines, pictures of the best, worst and random images, the score at every denoising step."""
    own = [r for r in judged.results.results if r.predictor not in judged.baselines]
    return Page(
        title=f"{judged.model.name} by {own[0].protocol.name}",
        lead=_lead(judged.results.results, judged.baselines),
        command=command,
        facts=describe(own[0]),
        tables=score_tables(judged.results.results, judged.baselines),
        plots=tuple(plot for case in judged.cases for plot in _step_plots(judged, case)),
        panels=panels_of(judged),
        notes=judged.notes,
    )


def compared(before: Judged, after: Judged, names: tuple[str, str]) -> Results:
    """Two models on the same images under new names, the first's baselines below."""

    def renamed(judged: Judged, name: str) -> list[Result]:
        return [
            r.model_copy(update={"predictor": name})
            for r in judged.results.results
            if r.predictor not in judged.baselines
        ]

    trivial = [r for r in before.results.results if r.predictor in before.baselines]
    return Results(results=(*renamed(before, names[0]), *renamed(after, names[1]), *trivial))


def learning_plots(folder: Path) -> tuple[Plot, ...]:
    """Training loss and validation scores of a run against the step."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    names = dict.fromkeys(key for r in records for key in r if key.startswith("val/") and key != "val/badness")
    loss = Plot("Training loss", learning_curves({"loss": records}, "loss"), "Training loss against the step.")
    return (
        loss,
        *(
            Plot(
                f"Validation: {name[4:]}",
                learning_curves({"validation": records}, name),
                f"{name[4:]} on the validation images against the step.",
            )
            for name in names
        ),
    )


def panels_of(judged: Judged, title: str = "") -> tuple[Panels, ...]:
    """For each task rows of the best, the worst and some random images: image, truth, prediction, error."""
    own = [r for r in judged.results.results if r.predictor not in judged.baselines]
    return tuple(_panels(judged, case, result, title) for case, result in zip(judged.cases, own, strict=True))


def run_page(folder: Path, judged: Judged, command: str, facts: Mapping[str, str]) -> Page:
    """A training run: the same for its held-out images, after its learning curves."""
    page = evaluation_page(judged, command)
    return Page(
        title=f"Training {', '.join(judged.model.tasks)}",
        lead=page.lead,
        command=command,
        facts={**facts, **page.facts},
        tables=page.tables,
        plots=(*learning_plots(folder), *page.plots),
        panels=page.panels,
        notes=page.notes,
    )


def write_run_report(folder: Path, out: Path, quiet: bool = True) -> Path:
    """Judge a run's best model on its own test images, of scenes on others than it was chosen by, and write the page.
    Raises `DataError` for no run."""
    if not (folder / "config.yaml").exists() or not (folder / "model").is_dir():
        raise DataError(
            f"{folder} is no finished run: it needs config.yaml and model/, which `denoisight train` writes."
        )
    recipe = read_yaml(folder / "config.yaml")
    if not recipe["tasks"]:
        raise UsageError(
            f"{folder} learnt to create and no task; judge what it creates: denoisight judge CREATED --real DIR"
        )
    data = str(recipe["data"])
    scenes = is_scenes(data)
    judged = judge(
        load(folder),
        str(folder),
        protocol="scenes/test" if scenes else "",
        split="test",
        quiet=quiet,
    )
    judged.results.write(folder)
    env = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    facts = {
        "device": f"{env['device']}, {env['threads']} threads",
        "recipe": str(recipe["recipe"]),
        "data": "scenes" if scenes else Path(data).name,
        "started from": str(recipe["model"]),
        **{f"trained: {k}": str(v) for k, v in judged.model.parts.config.provenance.items()},
    }
    words = ["denoisight", *env["command"][1:]]
    write_page(out, run_page(folder, judged, " ".join(words), facts))
    return out


def _step_plots(judged: Judged, case: Case) -> Sequence[Plot]:
    """Empty where the task is read out in one pass."""
    task = case.protocol.task
    if task not in judged.model.denoises or judged.model.task(task, judged.options.route)[1] == "readout":
        return ()
    metric, sign = CHOOSE_BY[task]
    steps = max(8, judged.model.steps(task))
    few = subset(case.reader, range(min(CURVE_IMAGES, len(case.reader))))
    scored = score_steps(
        judged.model,
        case.protocol,
        few,
        steps=steps,
        seeds=(judged.options.seed,),
        options=judged.options,
        stream=bind(ask, judged.model, phrasing=judged.phrasing),
    )
    pooled = case.protocol.pooling == "pooled"
    scores = scored.means(metric) if pooled else scored.per_image(metric)[0]
    svg = denoising_curve({judged.model.name: scores}, metric, "lower" if sign > 0 else "higher")
    return (
        Plot(
            f"{task}: {metric} against the denoising step",
            svg,
            f"{metric} of the clean estimate after each of {steps} denoising steps.",
            f"Score of the clean estimate after each of {steps} steps, {'pooled over' if pooled else 'mean over'} "
            f"{len(few)} images.",
        ),
    )


def _panels(judged: Judged, case: Case, result: Result, title: str) -> Panels:
    task = case.protocol.task
    metric, sign = CHOOSE_BY[task]
    scores = dict(zip(result.keys, result.per_image[metric], strict=True))
    chosen = choose(scores, "lower" if sign > 0 else "higher", seed=result.seed)
    index = {key: i for i, key in enumerate(case.reader.keys)}
    rows, truths = [], []
    for kind in ("best", "worst", "random"):
        keys = getattr(chosen, kind)
        samples = [case.reader[index[key]] for key in keys]
        queries = [sample.asked(case.protocol.truth) for sample in samples]
        answers = ask(judged.model, queries, task, judged.options, judged.phrasing)
        for sample, query, answer in zip(samples, queries, answers, strict=True):
            truth = sample.truths[case.protocol.truth]
            truths.append(truth)
            words = f' "{query.text}"' if case.protocol.truth in sample.phrases else ""
            caption = f"{kind}: {sample.key}{words}, {metric} {scores[sample.key]:.3f}"
            rows.append(panel_row(caption, sample.image, answer.annotation, truth, case.protocol.alignment))
    return Panels(
        " ".join(f"{task}: best, worst and random images {title}".split()), tuple(rows), panel_legends(truths)
    )


def _lead(results: Sequence[Result], trivial: frozenset[str]) -> str:
    """One sentence a task: the deciding score, beside the best trivial baseline's."""
    sentences = []
    for task in dict.fromkeys(r.protocol.task for r in results):
        metric, sign = CHOOSE_BY[task]
        rivals = [r for r in results if r.protocol.task == task and r.predictor in trivial]
        mine = next(r for r in results if r.protocol.task == task and r.predictor not in trivial)
        text = f"{task}: {metric} {format_score(mine.headline[metric])}"
        known = [r for r in rivals if r.headline[metric].value is not None]
        if known:
            best = min(known, key=lambda r: sign * (r.headline[metric].value or 0.0))
            text += f" (best trivial baseline, {best.predictor}: {format_score(best.headline[metric])})"
        sentences.append(text)
    return "; ".join(sentences) + "."
