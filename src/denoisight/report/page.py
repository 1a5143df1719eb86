"""A report as one HTML file: it asks nothing of the network and opens from a disk, a mail or a phone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..evaluate.results import Result
from ..runtime import write_text
from .panels import Panels, data_uri
from .tables import Table


@dataclass(frozen=True)
class Plot:
    """An SVG made by `curves`, put into the page as it is; `alt` says in words what it shows."""

    title: str
    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Page:
    """What a report holds, in reading order; every empty part is left out.

    `command` is what reproduces the run; `facts` are what was run: model, data, seeds, steps, versions.
    """

    title: str
    lead: str = ""
    command: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    panels: tuple[Panels, ...] = ()
    notes: tuple[str, ...] = ()


def write_page(path: Path | str, page: Page) -> None:
    """Write the report whole or not at all. Raises `DataError` where the file cannot be written."""
    write_text(path, to_html(page))


def describe(result: Result) -> dict[str, str]:
    """Everything that a reader needs to compare a result with another: data, protocol, settings, versions."""
    protocol, (height, width) = result.protocol, result.protocol.size or (None, None)
    facts = {
        "model": result.predictor,
        "weights (SHA-256)": result.model_hash and result.model_hash[:16],
        "protocol": f"{protocol.name} ({protocol.task})",
        "data": f"{protocol.data}, split {protocol.split}",
        "images": f"{result.num_images} of {protocol.count}" if result.partial else result.num_images,
        "images without a pixel to judge": result.num_empty or None,
        "image list (SHA-256)": result.list_hash[:16],
        "size": protocol.size and f"{width} x {height} px",
        "crop (top, left, height, width)": protocol.crop,
        "range": protocol.range_m and "{:g} m to {:g} m".format(*protocol.range_m),
        "alignment": protocol.alignment,
        "pooling": protocol.pooling,
        "resizing": protocol.resize,
        "particulars": "; ".join(protocol.quirks),
        "after": protocol.source,
        "seed": result.seed,
        **result.settings,
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def to_html(page: Page) -> str:
    """All text but the SVG of plots is escaped; equal pages give equal bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(page=page, data_uri=data_uri)
