"""Five minutes with denoisight: see, adapt to forty labelled pictures, measure what it brought."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from matplotlib import cbook

from ..annotations import Query
from ..data.images import read_image
from ..data.paired import write_pairs
from ..data.scenes import Scenes
from ..errors import UsageError
from ..evaluate.results import Results
from ..predict.load import load
from ..predict.model import Model
from ..render import colour, to_rgb
from ..report.page import Page, describe, write_page
from ..report.panels import Panels, Row
from ..report.tables import score_tables
from .adapt import adapt
from .base import override
from .judge import Judged, judge
from .launch import train
from .pages.run import compared, learning_plots, panels_of

log = logging.getLogger(__name__)

TASKS = ("depth", "normals", "semantic")
TRAINING, VALIDATION, TEST = 34, 6, 60
"""Forty labelled pictures, six of them to choose the best state by; sixty others to measure on."""


def demo(out: Path, *, max_time: str = "140s", overwrite: bool = False, quiet: bool = False) -> Path:
    """Predict on scenes and a photograph, adapt to a folder of labelled pictures, write the report; returns its path.

    The folder holds scenes of the `shifted` split, whose textures, lights and clutter the embedded model never saw.
    Raises `UsageError` where `out` is in use and not to be overwritten.
    """
    began = time.monotonic()
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise UsageError(f"{out} is not empty; add --overwrite to run the demo again.")
        shutil.rmtree(out)
    embedded = load("embedded")
    log.info("1/3 Predicting depth, normals and labels on scenes and on a photograph.")
    looks = (
        _look(embedded, photographs(), "A photograph"),
        _look(embedded, scenes("test", 3), "Scenes like those it learnt from"),
    )

    log.info("2/3 Adapting to %d labelled pictures of a kind it never saw.", TRAINING + VALIDATION)
    data = out / "data"
    _write(data)
    # These pictures have the network's own size, so that windows of them would only be blurred.
    same_size = {"res": 64, "augment": {"crop": 1.0, "colour": 0.1}}
    recipe = override(adapt(TASKS, str(data)), {"max_time": max_time, **same_size})
    trained = train(recipe, out / "run", quiet=quiet)

    log.info("3/3 Measuring both on %d others.", TEST)
    before = judge(embedded, "embedded", task=",".join(TASKS), data=str(data), quiet=quiet)
    after = judge(load(out / "run"), "adapted", data=str(data), quiet=quiet, trivial=False)
    results = compared(before, after, ("before (embedded)", "after 40 labels"))
    results.write(out)
    page = out / "report.html"
    write_page(page, _page(before, after, results, looks, out / "run", time.monotonic() - began))
    log.info("%d steps of adaptation. The report lies at %s", int(trained.best["step"]), page)
    return page


def photographs() -> list[Query]:
    """A portrait in the public domain (NASA, via matplotlib's sample data)."""
    path = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return [Query(read_image(path), key="Grace Hopper")]


def scenes(split: str, count: int) -> list[Query]:
    scenes = Scenes(split, count, (128, 128))
    return [scenes[i].query for i in range(count)]


def _write(data: Path) -> None:
    scenes = Scenes("shifted", TRAINING + VALIDATION + TEST)
    start = 0
    for split, count in (("train", TRAINING), ("val", VALIDATION), ("test", TEST)):
        write_pairs((scenes[i] for i in range(start, start + count)), data / split)
        start += count


def _look(model: Model, queries: list[Query], title: str) -> Panels:
    answers = {task: model.predict(queries, task) for task in TASKS}
    rows = []
    for i, query in enumerate(queries):
        drawn = ((task, colour(answers[task][i].annotation)) for task in TASKS)
        rows.append(Row(query.key, (("image", to_rgb(query.image)), *drawn)))
    return Panels(title, tuple(rows), note="Predicted by the embedded model as shipped.")


def _page(
    before: Judged, after: Judged, results: Results, looks: tuple[Panels, ...], run: Path, seconds: float
) -> Page:
    first = results.results[0]
    return Page(
        title="denoisight: five minutes",
        lead=f"A small diffusion model was adapted to {TRAINING + VALIDATION} labelled pictures of a kind that it "
        f"never saw, and measured on {TEST} others, before and after.",
        command="denoisight demo",
        facts={**describe(first), "wall time": f"{seconds:.0f} s"},
        tables=score_tables(results.results, before.baselines),
        plots=learning_plots(run),
        panels=(*looks, *panels_of(after, "after adaptation")),
        notes=(
            "The embedded model is small and learnt from procedural scenes alone, so it knows little of photographs.",
        ),
    )
