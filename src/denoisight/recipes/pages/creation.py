"""The page about created images: numbers beside references, histograms, images beside the nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...annotations import Annotation, Boxes, Sample
from ...data.readers import Reader
from ...evaluate.creation_results import CreationResult, Images, InFeatures, LabelStatistic
from ...evaluate.results import Score
from ...render import Picture, colour, overlay, to_rgb
from ...report.curves import lines
from ...report.page import Page, Plot
from ...report.panels import Panels, Row, choose, panel_legends, panel_row
from ...report.tables import Arm, Cell, Table, compare, format_score
from ...runtime import item_seed
from ...train.validate import CHOOSE_BY
from ..creation import JudgedCreation

SHOWN = 6
"""Created images in a group of pictures."""
LABELS_SHOWN = 3
"""Labels of an image that are drawn beside it."""

DISTANCES = (
    "Against the real images. Brackets: 95 % intervals. Reference: as many training images, which lie as far from the "
    "real ones as images of the same kind do. Where there are fewer of them, all: then only KID and precision may be "
    "held beside each other, for fewer images are farther by FID and cover less. In other features, or with other "
    "numbers of images, numbers are others."
)


def creation_page(judged: JudgedCreation, command: str) -> Page:
    result = judged.result
    return Page(
        title=f"{result.created.num_images} created images beside {result.real.num_images} real ones",
        lead=lead(result),
        command=command,
        facts=_facts(result),
        tables=tuple(_tables(result)),
        plots=tuple(_plot(each) for each in result.statistics if each.unit),
        panels=tuple(_panels(judged)),
        notes=result.notes,
    )


def lead(result: CreationResult) -> str:
    """The first numbers in a few sentences."""
    first = result.features[0]
    told = f"In {first.features}: FID {format_score(first.created['fid'])}"
    if first.train and first.num_train == result.created.num_images:
        told += f" (as many training images {format_score(first.train['fid'])})"
    sentences = [told]
    sentences.append(
        f"precision {format_score(first.created['precision'])}, recall {format_score(first.created['recall'])}"
    )
    if first.copies:
        sentences.append(
            f"a created image is {format_score(first.copies.ratio)} times as far from the training images as a real one"
        )
    for answer in result.agreement:
        name = answer.metric
        sentences.append(
            f"{answer.task} by {answer.judge}: {name} {format_score(answer.created[name])} on created labels, "
            f"{format_score(answer.real[name])} on real ones"
        )
    return "; ".join(sentences) + "."


def _facts(result: CreationResult) -> dict[str, str]:
    def told(images: Images) -> str:
        sizes = ", ".join(list(images.sizes)[:3])
        return f"{images.name}: {images.num_images} images ({sizes}; list {images.list_hash[:12]})"

    sets = {"created": result.created, "real": result.real, "training": result.train}
    return {
        **{name: told(images) for name, images in sets.items() if images},
        **{f"features {i}": f"{f.features}, {f.width} numbers (weights {f.weights[:12]})"
           for i, f in enumerate(result.features, 1)},
        **{f"judge of {a.task}": f"{a.judge}, {a.settings['route']} (weights {a.weights[:12]})"
           for a in result.agreement},
        **{name: str(value) for name, value in result.settings.items()},
        "seed": str(result.seed),
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    }  # fmt: skip


def _tables(result: CreationResult) -> list[Table]:
    tables = []
    for each in result.features:
        arms = [Arm("created", each.created, result.metrics, result.created.num_images)]
        if each.train:
            arms.append(Arm("training images, as a reference", each.train, result.metrics, each.num_train))
        tables.append(_without_best(compare(each.features, arms, DISTANCES)))
        tables += [_novelty(each)] if each.copies or each.diversity else []
    if result.statistics:
        tables.append(_labels(result.statistics))
    for answer in result.agreement:
        arms = [
            Arm("created labels", answer.created, answer.metrics, result.created.num_images),
            Arm("real truths", answer.real, answer.metrics, result.real.num_images),
        ]
        note = (
            "The second row is the judge's ceiling: on created images it cannot be expected to agree more, unless it "
            "made the labels itself, or taught who made them."
        )
        tables.append(_without_best(compare(f"Agreement · {answer.task} · judge {answer.judge}", arms, note)))
    return tables


def _novelty(each: InFeatures) -> Table:
    rows = []
    if each.copies:
        rows += [
            ("distance to the nearest training image, over that of real images", each.copies.ratio),
            ("share of images nearer to training images than all but 5 % of real ones", each.copies.close),
        ]
    if each.diversity:
        rows += [
            ("distance between created images of one source", each.diversity.created_within),
            ("distance between created images of different sources", each.diversity.created_across),
            ("distance between real images", each.diversity.real),
        ]
    note = "A ratio far below 1, or a share far above 0.05, means copies of training images."
    if each.diversity:
        note += (
            " Diversity is the mean squared distance in the model's own features, of unit length at every place; "
            f"{each.diversity.num_created} created images of {each.diversity.num_sources} sources, "
            f"{each.diversity.num_real} real ones."
        )
    cells = tuple((Cell(name), _cell(score)) for name, score in rows)
    return Table(f"New and diverse · {each.features}", ("", "median or mean"), cells, note)


def _labels(statistics: Sequence[LabelStatistic]) -> Table:
    referred = any(each.train for each in statistics)
    names = ("created", "training images") if referred else ("created",)
    columns = ("", *(f"{way}, {name}" for way in ("divergence (bits)", "moved by") for name in names))
    rows = []
    for each in statistics:
        sets = [each.created, *([each.train or {}] if referred else [])]
        cells = [_cell(scores.get("js")) for scores in sets]
        cells += [_cell(scores.get("wasserstein"), each.unit) for scores in sets]
        rows.append((Cell(each.name), *cells))
    note = (
        "Distributions of the labels over a set, every image with the same say, against the real images': the "
        "Jensen-Shannon divergence, and the 1-D Wasserstein distance in the property's unit. Both are above 0 for any "
        "two sets, the more the fewer images; brackets: 95 % intervals."
    )
    return Table("Labels", columns, tuple(rows), note)


def _cell(score: Score | None, unit: str = "") -> Cell:
    if score is None:
        return Cell("")
    text, _, interval = format_score(score).partition(" ")
    return Cell(f"{text} {unit}".strip() if score.value is not None else text, interval)


def _without_best(table: Table) -> Table:
    """References compete with nobody."""
    return replace(table, rows=tuple(tuple(replace(cell, best=False) for cell in row) for row in table.rows))


def _plot(each: LabelStatistic) -> Plot:
    edges = [float(edge) for edge in each.bins]
    middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
    curves = {name: (middles, list(shares)) for name, shares in each.shares.items()}
    alt = f"Histogram of {each.name} in {each.unit} over created and real images."
    return Plot(each.name, lines(curves, each.unit, "share of pixels"), alt, "Mean over images of their histograms.")


def _panels(judged: JudgedCreation) -> list[Panels]:
    chosen = sorted(judged.created.keys, key=lambda key: item_seed(judged.result.seed, key))[:SHOWN]
    groups = [_beside("Some of the created images", judged, chosen)]
    first = judged.result.features[0]
    if first.copies:
        nearest = [pair.key for pair in first.copies.nearest[:SHOWN]]
        groups.append(_beside("The created images nearest to training images", judged, nearest))
    return [*groups, *(_by_judge(judged, task) for task in judged.agreed)]


def _beside(title: str, judged: JudgedCreation, keys: Sequence[str]) -> Panels:
    """Created images with their labels, and the training image that lies nearest."""
    rows: list[Row] = []
    labels: list[Annotation] = []
    for sample in _samples(judged.created, keys):
        shown = dict(list(sample.truths.items())[:LABELS_SHOWN])
        labels += shown.values()
        cells = [("created", to_rgb(sample.image)), *((n, _draw(sample, t)) for n, t in shown.items())]
        caption, pair = sample.key, judged.pairs.get(sample.key)
        if pair and judged.train:
            (near,) = _samples(judged.train, [pair.nearest])
            cells.append(("training image", to_rgb(near.image)))
            caption += f", nearest to {pair.nearest}" + ("" if pair.ratio is None else f" (ratio {pair.ratio:.2f})")
        rows.append(Row(caption, tuple(cells)))
    drawn = panel_legends(labels).get("truth, prediction", ())
    return Panels(title, tuple(rows), {"labels": drawn} if drawn else {})


def _by_judge(judged: JudgedCreation, task: str) -> Panels:
    """The created images on which judge and labels agree best and least; the label stands as truth."""
    assert judged.judge is not None
    metric, sign = CHOOSE_BY[task]
    scores = judged.agreed[task]
    chosen = choose(scores, "lower" if sign > 0 else "higher", seed=judged.result.seed)
    rows, labels = [], []
    truth = judged.judge.task(task)[0].truth
    for kind, keys in (("best", chosen.best), ("worst", chosen.worst)):
        samples = _samples(judged.created, keys)
        answers = judged.judge.stream([sample.asked(truth) for sample in samples], task, judged.options)
        for sample, answer in zip(samples, answers, strict=True):
            labels.append(sample.truths[truth])
            caption = f"{kind}: {sample.key}, {metric} {scores[sample.key]:.3f}"
            drawn = panel_row(caption, sample.image, answer.annotation, sample.truths[truth])
            rows.append(replace(drawn, cells=tuple((JUDGED.get(n, n), picture) for n, picture in drawn.cells)))
    legends = {JUDGED.get(name, name): entries for name, entries in panel_legends(labels).items()}
    return Panels(f"{task}: labels beside the judge's answers, best and worst", tuple(rows), legends)


JUDGED: Mapping[str, str] = {
    "truth": "created label",
    "prediction": "the judge's answer",
    "error": "difference",
    "truth, prediction": "labels, answers",
}
"""What `panel_row`'s cells are called where a created label stands for the truth."""


def _draw(sample: Sample, label: Annotation) -> Picture:
    return overlay(sample.image, label) if isinstance(label, Boxes) else colour(label)


def _samples(reader: Reader, keys: Sequence[str]) -> list[Sample]:
    places = {key: i for i, key in enumerate(reader.keys)}
    return [reader[places[key]] for key in keys]
