"""Created images of each round beside their sources, with what the kept model sees in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...annotations import Annotation, Boxes, Mask, Sample
from ...create.annotate import Annotating, annotate
from ...create.pairs import source_key
from ...data.open import open_data
from ...data.readers import Reader
from ...errors import DenoisightError
from ...predict.load import load
from ...predict.model import Model
from ...render import Picture, colour, overlay, to_rgb
from ...report.panels import Panels, Row, panel_legends
from ...runtime import item_seed

SHOWN, ABREAST = 12, 6
"""Created images of a round, and how many stand side by side."""


def created_panels(
    folder: Path, rounds: Sequence[str], recipe: Mapping[str, Any], device: str
) -> tuple[tuple[Panels, ...], tuple[str, ...]]:
    """A group of pictures for each round, the same at each call; and notes on what could not be shown.

    recipe: the warm-up's, as plain values. Created images may have been thrown away since, and sources moved.
    """
    model, panels, notes = load(folder / "model", device), list[Panels](), list[str]()
    sources: Mapping[str, Picture] = {}
    for name in rounds:
        try:
            samples = _some(open_data(folder / name, "all"))
        except DenoisightError as error:
            notes.append(f"Images of {name} cannot be shown: {error}")
            continue
        try:
            sources = _sources(recipe, model, [source_key(sample.key) for sample in samples])
        except DenoisightError as error:
            notes.append(f"Images of {name} stand without their sources: {error}")
        panels.append(_panels(name, samples, sources, model, recipe))
    return tuple(panels), tuple(notes)


def _some(made: Reader) -> list[Sample]:
    chosen = sorted(range(len(made)), key=lambda i: item_seed(0, made.keys[i]))[:SHOWN]
    return [made[i] for i in chosen]


def _sources(recipe: Mapping[str, Any], model: Model, keys: Sequence[str]) -> dict[str, Picture]:
    reader = open_data(recipe["data"], "train", size=(recipe["res"] or model.parts.config.resolution,) * 2)
    places = {key: i for i, key in enumerate(reader.keys)}
    return {key: to_rgb(reader[places[key]].image) for key in keys if key in places}


def _panels(
    name: str, samples: Sequence[Sample], sources: Mapping[str, Picture], model: Model, recipe: Mapping[str, Any]
) -> Panels:
    """Columns are images: over each other its source, itself, and its labels."""
    how = Annotating(tasks=tuple(recipe["tasks"]), route=recipe["route"])
    seen = annotate(model, [sample.query for sample in samples], how)
    columns = []
    for sample, labels in zip(samples, seen, strict=True):
        source = sources.get(source_key(sample.key))
        drawn = {task: _draw(sample, label.annotation) for task, label in labels.items()}
        columns.append({**({} if source is None else {"source": source}), "created": to_rgb(sample.image), **drawn})
    told = "".join(f"\n{i}: {sample.key}, {sample.query.text}" for i, sample in enumerate(samples, 1))
    legend = panel_legends([label.annotation for labels in seen for label in labels.values()])["truth, prediction"]
    note = f"Labels are what the kept model sees by its {recipe['route']} route.{told}"
    return Panels(f"{name}: some of the images with their labels", tuple(_rows(columns)), {"labels": legend}, note)


def _rows(columns: Sequence[Mapping[str, Picture]]) -> Iterator[Row]:
    for first in range(0, len(columns), ABREAST):
        together = columns[first : first + ABREAST]
        for kind in dict.fromkeys(kind for column in together for kind in column):
            cells = [(str(i), column[kind]) for i, column in enumerate(together, first + 1) if kind in column]
            yield Row(kind, tuple(cells))


def _draw(sample: Sample, label: Annotation) -> Picture:
    return overlay(sample.image, label) if isinstance(label, Boxes | Mask) else colour(label)
