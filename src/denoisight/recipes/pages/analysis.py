"""The page of an analysis: curves over steps, their causes, quality against time, the law, pictures along the walk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...diffusion.timesteps import contributions
from ...evaluate.results import Score
from ...report.curves import denoising_curve, lines
from ...report.page import Page, Plot
from ...report.panels import Panels, choose, panel_legends, strip_row
from ...report.tables import ARROWS, Better, Cell, Table, format_score
from ..analysis import Analysis, Stopping
from ..analyze import Analysed

PICTURES = 10
"""How many estimates of a longer walk are shown."""

CANDIDATES = 12
"""How many stopping points the table shows."""


def analysis_page(analysed: Analysed, command: str) -> Page:
    """Everything that `analysis.json` and `law.json` hold, to look at."""
    analysis = analysed.analysis
    return Page(
        title=f"{analysis.model}, {analysis.protocol.task}: every step of a walk",
        lead=f"{analysis.verdict} {recommendation(analysis)}",
        command=command,
        facts=_facts(analysis),
        tables=(_lengths_table(analysis), _candidates_table(analysis)),
        plots=(*_score_plots(analysed), *_cause_plots(analysed), _evaluations_plot(analysed), _law_plot(analysed)),
        panels=(_strips(analysed),),
        notes=(f"Recommendation. {analysis.rule}",),
    )


def recommendation(analysis: Analysis) -> str:
    """In one or two sentences."""
    chosen = analysis.recommended
    kept = f"It was not stored: {analysis.stored}." if analysis.stored else "It is the model's own from now on."
    return f"Recommended: {_words(chosen)}, {analysis.metric} {chosen.score:.4g}. {kept}"


def _words(stop: Stopping) -> str:
    walk = f"{stop.steps} step{'s' * (stop.steps > 1)}"
    return f"{walk}, left after {stop.taken} (--stop-at {stop.stop_at:g})" if stop.stop_at else walk


def _facts(analysis: Analysis) -> dict[str, str]:
    shape, protocol = analysis.shape, analysis.protocol
    relative = "" if shape.relative_loss is None else f", {shape.relative_loss:.1%} of the best"
    return {
        "model": analysis.model,
        "weights (SHA-256)": analysis.model_hash[:16],
        "protocol": f"{protocol.name} ({protocol.task})",
        "images": f"{analysis.num_images} of {protocol.count}",
        "seeds": ", ".join(map(str, analysis.seeds)),
        **{name: str(value) for name, value in analysis.settings.items()},
        f"trivial prediction ({shape.trivial_name})": f"{shape.trivial:.4g}",
        "first step": format_score(shape.first),
        "best step": f"{shape.best_step}: {format_score(shape.best)}",
        "last step": format_score(shape.last),
        "start-up gain (best against first)": format_score(shape.startup_gain),
        "late loss (last against best)": format_score(shape.late_loss) + relative,
        "versions": ", ".join(f"{name} {version}" for name, version in analysis.versions.items()),
    }


def _heading(analysis: Analysis, metric: str) -> str:
    return f"{metric} ({analysis.metrics[metric].unit})\u00a0{ARROWS[analysis.metrics[metric].better]}"


def _cell(score: Score, best: bool = False) -> Cell:
    text, _, interval = format_score(score).partition(" ")
    return Cell(text, interval, best)


def _lengths_table(analysis: Analysis) -> Table:
    names = list(analysis.metrics)
    rows = tuple(
        (
            Cell(f"{walk.steps} step{'s' * (walk.steps > 1)}"),
            *(_cell(walk.scores[name][-1]) for name in names),
            Cell(f"{walk.seconds * 1000:.1f}"),
        )
        for walk in analysis.walks
    )
    columns = ("whole walks", *(_heading(analysis, name) for name in names), "ms per image")
    note = "Mean over seeds; brackets: 95 % bootstrap interval over images and seeds. Time: of a warm batch."
    return Table("Quality and time against the number of steps", columns, rows, note)


def _candidates_table(analysis: Analysis) -> Table:
    """The best score at each number of evaluations, and what was recommended."""
    fewest: dict[int, Stopping] = {}
    for stop in analysis.candidates:
        fewest.setdefault(stop.taken, stop)
    rows = tuple(
        (
            Cell(_words(stop), "recommended" if stop == analysis.recommended else ""),
            Cell(str(stop.taken)),
            Cell(f"{stop.score:.4g}", best=stop == analysis.recommended),
            _cell(stop.behind),
        )
        for stop in list(fewest.values())[:CANDIDATES]
    )
    columns = ("", "evaluations", _heading(analysis, analysis.metric), "behind the best")
    return Table("The best walk for each number of evaluations", columns, rows, analysis.rule)


def _better(analysed: Analysed, metric: str) -> Better:
    return analysed.analysis.metrics[metric].better


def _score_plots(analysed: Analysed) -> tuple[Plot, ...]:
    walk, analysis = analysed.walks[-1], analysed.analysis
    return tuple(
        Plot(
            f"{metric} against the denoising step",
            denoising_curve({analysis.model: walk.means(metric)}, metric, _better(analysed, metric)),
            f"{metric} of the clean estimate after each of {len(walk.timesteps)} denoising steps.",
            "Of the clean estimate after each step, on the same images: mean and 95 % interval over "
            f"{len(analysis.seeds)} seeds.",
        )
        for metric in analysis.metrics
    )


def _cause_plots(analysed: Analysed) -> tuple[Plot, ...]:
    causes, analysis, metric = analysed.causes, analysed.analysis, analysed.analysis.metric
    count = analysis.causes.num_images
    drift = {"fed its own x_t": causes.own.means(metric), "fed the truth's x_t": causes.fed.means(metric)}
    detail = {
        "fed its own x_t": causes.detail,
        "fed the truth's x_t": causes.fed_detail,
        "the truth": np.ones((1, causes.detail.shape[1])),
    }
    plots = [
        Plot(
            "Drift",
            denoising_curve(drift, metric, _better(analysed, metric)),
            f"{metric} at every step of the network on its own walk and on the truth's, with the same noise.",
            f"The same network and noise at every step, on {count} images.",
        ),
        Plot(
            "Residual noise: fine detail",
            denoising_curve(detail, "energy / the truth's", "lower", best=False),
            "Energy of fine detail of the canvas estimate, in relation to the truth's, at every step.",
            "What a 3 x 3 mean takes away from the canvas estimate, squared, in relation to the truth's canvas.",
        ),
    ]
    if analysis.causes.varying is not None:
        steps = range(1, len(causes.error) + 1)
        parts = {
            "common to all seeds": (steps, (causes.error - causes.varying).tolist()),
            "variance over seeds": (steps, causes.varying.tolist()),
        }
        plots.append(
            Plot(
                "The error's two parts",
                lines(parts, "denoising step", "squared error of the canvas"),
                "Squared error of the canvas estimate at every step: common to all seeds, and variance over seeds.",
                "Noise that is left differs from seed to seed; what is common to all seeds is no noise.",
            )
        )
    return tuple(plots)


def _evaluations_plot(analysed: Analysed) -> Plot:
    metric = analysed.analysis.metric
    arms = {f"{len(w.timesteps)}-step walk": w.means(metric) for w in analysed.walks if len(w.timesteps) > 1}
    return Plot(
        f"{metric} against evaluations",
        denoising_curve(arms, metric, _better(analysed, metric)),
        f"{metric} after each evaluation of the network, on walks of several numbers of steps.",
        "Every point is a place to stop: a walk of so many steps, left after so many evaluations.",
    )


def _law_plot(analysed: Analysed) -> Plot:
    grid, schedule = analysed.law.timesteps, analysed.model.parts.backbone.schedule
    analytic = (contributions(schedule) ** 2).numpy()
    laws = {
        "measured": analysed.law.probabilities.numpy(),
        "c_t squared": analytic / analytic.sum(),
        "uniform": np.full(schedule.num_timesteps, 1 / schedule.num_timesteps),
    }
    starts = [0, *(t + 1 for t in reversed(grid[1:]))]
    shares = {name: (grid, np.add.reduceat(law, starts)[::-1].tolist()) for name, law in laws.items()}
    return Plot(
        "The measured law of contributions",
        lines(shares, "timestep t", "share of the step's interval"),
        "Share of each step's interval of training timesteps: measured, the formula's, and uniform.",
        "How often to train on the timesteps from each step's down to the next one's. law.json holds the measured law.",
    )


def _strips(analysed: Analysed) -> Panels:
    """The best, the worst and a random image along the longest walk."""
    protocol, reader, walk = analysed.case.protocol, analysed.case.reader, analysed.walks[-1]
    metric, steps = analysed.analysis.metric, len(walk.timesteps)
    last = dict(zip(walk.tallies[0][-1].keys, walk.per_image(metric)[0, :, -1].tolist(), strict=True))
    chosen = choose(last, _better(analysed, metric), count=1)
    place = {key: i for i, key in enumerate(reader.keys)}
    told = [(kind, key) for kind in ("best", "worst", "random") for key in getattr(chosen, kind)]
    samples = [reader[place[key]] for _, key in told]
    asked = replace(analysed.options, steps=steps, stop_at=0.0, route="denoise", trajectory=True)
    stream = analysed.model.stream([s.asked(protocol.truth) for s in samples], protocol.task, asked)
    shown, rows = _shown(steps), []
    for (kind, key), sample, answer in zip(told, samples, stream, strict=True):
        stages = {f"step {i + 1}": answer.trajectory[i] for i in shown}
        truth = sample.truths[protocol.truth]
        words = f' "{answer.query.text}"' if protocol.truth in sample.phrases else ""
        caption = f"{kind}: {key}{words}, {metric} {last[key]:.3f} after the last step"
        rows.append(strip_row(caption, sample.image, truth, stages, protocol.alignment))
    drawn = panel_legends([sample.truths[protocol.truth] for sample in samples])["truth, prediction"]
    return Panels("Estimates along the walk", tuple(rows), {"truth, estimates": drawn})


def _shown(steps: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, steps - 1, min(steps, PICTURES))})
