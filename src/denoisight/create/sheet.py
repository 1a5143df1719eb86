"""Created pairs to look at: each image beside what it is made of and its labels in colours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..annotations import Mask, Sample
from ..data.images import write_png
from ..data.open import open_data
from ..data.readers import Reader
from ..data.readers.layout import METADATA, read_metadata
from ..data.readers.shards import is_shards, read_few
from ..render import Picture, colour, contact_sheet, overlay, to_rgb
from .captions import Words


def draw_pairs(pairs: Iterable[tuple[Sample, dict[str, Any]]], source: Reader, cell_px: int = 128) -> Picture:
    """A row for each pair with its provenance: source, image, labels, over how it was made."""
    places = {key: i for i, key in enumerate(source.keys)}
    rows, captions, titles = [], [], list[str]()
    for sample, facts in pairs:
        before = [] if isinstance(source, Words) else [to_rgb(source[places[facts["source"]]].image)]
        truths = sorted(sample.truths)
        titles = [*(["source"] if before else []), "created", *truths]
        drawn = (sample.truths[name] for name in truths)
        rows.append([*before, to_rgb(sample.image), *(_drawn(sample, truth) for truth in drawn)])
        captions.append(_about(facts))
    return contact_sheet(rows, titles, captions, cell_px)


def write_pairs_sheet(folder: Path, source: Reader, most: int = 24) -> Path:
    """Draw pairs of a folder, spread evenly over all there are, into its `sheet.png`."""
    pairs: Reader
    if is_shards(folder):
        pairs, facts = read_few(folder, most)
    else:
        pairs = open_data(folder, "all")
        facts = {row["key"]: row for row in read_metadata(folder / METADATA)[0]}
    count = min(most, len(pairs))
    chosen = (pairs[i * len(pairs) // count] for i in range(count))
    return write_png(folder / "sheet.png", draw_pairs(((sample, facts[sample.key]) for sample in chosen), source))


def _drawn(sample: Sample, truth: Any) -> Picture:
    return overlay(sample.image, truth) if isinstance(truth, Mask) else colour(truth)


def _about(facts: dict[str, Any]) -> str:
    avoided = facts["avoid"] if isinstance(facts["avoid"], str) else ", ".join(facts["avoid"])
    away = f", not {avoided}" if avoided else ""
    verdict = facts["verdict"] + (f": {facts['reason']}" if facts["reason"] else "")
    return f"{facts['noise_level']:g} {facts['noise']} | {facts['text']}{away} | {verdict}"
