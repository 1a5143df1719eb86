"""Scores with their intervals as tables: one layout for the terminal, for Markdown and for the HTML page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeGuard

from rich.table import Table as TerminalTable
from rich.text import Text

from ..errors import DataError
from ..evaluate.results import Result, Score
from ..metrics import Metric

Better: TypeAlias = Literal["lower", "higher"]

ARROWS = {"lower": "↓", "higher": "↑"}
UNKNOWN = Score(value=None, low=None, high=None)
INTERVALS = "Brackets: 95 % bootstrap interval over images. Bold: best of the complete runs."
PARTIAL = "A partial run saw other images than the protocol's: compare it with nothing."


@dataclass(frozen=True)
class Arm:
    """One row of a comparison: a model, a variant of it, or a trivial baseline, judged on `count` images.

    Scores of a `partial` run cover a part of the images only; they are shown, marked, and never best.
    `unanswered` is the share of judged pixels for which the prediction declared to know nothing.
    """

    name: str
    scores: Mapping[str, Score]
    metrics: Mapping[str, Metric]
    count: int | None = None
    partial: bool = False
    baseline: bool = False
    unanswered: float = 0.0

    @classmethod
    def of(cls, result: Result, baseline: bool = False) -> Arm:
        """The scores under the pooling that the result's protocol quotes."""
        return cls(
            result.predictor,
            result.headline,
            result.metrics,
            result.num_images,
            result.partial,
            baseline,
            result.unanswered,
        )


@dataclass(frozen=True)
class Cell:
    """A text, smaller details after it, and whether it is the best among its rivals."""

    text: str
    detail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def score_tables(results: Sequence[Result], baselines: Collection[str] = ()) -> tuple[Table, ...]:
    """One table for each protocol and task, and one of its classes; `baselines` names trivial predictors."""
    tables = []
    for name, task in dict.fromkeys((r.protocol.name, r.protocol.task) for r in results):
        rivals = [r for r in results if (r.protocol.name, r.protocol.task) == (name, task)]
        arms = [Arm.of(result, result.predictor in baselines) for result in rivals]
        pooling = rivals[0].protocol.pooling
        meaning = "Mean over images." if pooling == "per-image" else "Pooled over all images."
        note = f"{meaning} {INTERVALS} {PARTIAL if any(arm.partial for arm in arms) else ''}".rstrip()
        tables.append(compare(f"{task} · {name}", arms, note))
        if rivals[0].protocol.classes:
            tables.append(compare_classes(f"{task} · {name} · IoU of each class", arms))
    return tuple(tables)


def compare(title: str, arms: Sequence[Arm], note: str = INTERVALS) -> Table:
    """Arms as rows, metrics as columns but for those of single classes; the best of each column is marked."""
    names = [name for name in _metrics(arms) if "/" not in name]
    columns = ["", *(_heading(name, arms) for name in names)]
    scores = [_judge(name, arms) for name in names]
    return Table(title, tuple(columns), tuple(zip(map(_describe, arms), *scores, strict=True)), note)


def compare_classes(title: str, arms: Sequence[Arm], note: str = "") -> Table:
    """Classes as rows, arms as columns, from the metrics named "iou/CLASS"."""
    names = [name for name in _metrics(arms) if name.startswith("iou/")]
    rows = tuple((Cell(name.removeprefix("iou/")), *_judge(name, arms)) for name in names)
    return Table(title, ("", *(arm.name for arm in arms)), rows, note)


def format_score(score: Score) -> str:
    """As in "4.12 [3.90, 4.35]"."""
    cell = _cell(score, _decimals(score))
    return f"{cell.text} {cell.detail}".strip()


def markdown(table: Table) -> str:
    """A pipe table, best values in bold."""
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    rows = [[_in_markdown(cell) for cell in row] for row in table.rows]
    lines = [[_escape(column) for column in table.columns], rule, *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{table.note}\n" if table.note else f"{text}\n"


def terminal(table: Table) -> TerminalTable:
    """The table as rich prints it, best values in bold."""
    out = TerminalTable(title=Text(table.title), caption=Text(table.note) if table.note else None)
    for index, column in enumerate(table.columns):
        out.add_column(Text(column), justify="right" if index else "left")
    for row in table.rows:
        out.add_row(*(_in_terminal(cell) for cell in row))
    return out


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def _in_terminal(cell: Cell) -> Text:
    return Text.assemble((cell.text, "bold" if cell.best else ""), (f"\n{cell.detail}".rstrip(), "dim"))


def _in_markdown(cell: Cell) -> str:
    text = _escape(cell.text)
    return f"{f'**{text}**' if cell.best else text} {_escape(cell.detail)}".rstrip()


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def _metrics(arms: Sequence[Arm]) -> list[str]:
    return list(dict.fromkeys(name for arm in arms for name in arm.scores))


def _metric(name: str, arms: Sequence[Arm]) -> Metric:
    meanings = {arm.metrics[name] for arm in arms if name in arm.metrics}
    if len(meanings) != 1:
        raise DataError(f"The arms do not agree on the unit and direction of {name!r}; evaluate them alike.")
    return meanings.pop()


def _heading(name: str, arms: Sequence[Arm]) -> str:
    metric = _metric(name, arms)
    return f"{name} ({metric.unit})\u00a0{ARROWS[metric.better]}"


def _describe(arm: Arm) -> Cell:
    details = (
        "baseline" if arm.baseline else "",
        "partial" if arm.partial else "",
        "" if arm.count is None else f"n = {arm.count}",
        f"unanswered {arm.unanswered:.1%}" if arm.unanswered else "",
    )
    said = ", ".join(filter(None, details))
    return Cell(arm.name, f"({said})" if said else "")


def _judge(name: str, arms: Sequence[Arm]) -> list[Cell]:
    """One metric of all arms, with one number of decimals; only two or more complete runs have a best."""
    scores = [arm.scores.get(name, UNKNOWN) for arm in arms]
    decimals = max(_decimals(score) for score in scores)
    whole = [s.value for s, arm in zip(scores, arms, strict=True) if is_known(s.value) and not arm.partial]
    choose = min if _metric(name, arms).better == "lower" else max
    best = choose(whole) if len(whole) > 1 else math.nan
    return [
        replace(_cell(score, decimals), best=score.value == best and not arm.partial)
        for score, arm in zip(scores, arms, strict=True)
    ]


def _cell(score: Score, decimals: int) -> Cell:
    if not is_known(score.value):
        return Cell("–")
    ends = [_number(end, decimals) for end in (score.low, score.high) if is_known(end)]
    return Cell(_number(score.value, decimals), f"[{', '.join(ends)}]" if len(ends) == 2 else "")


def _number(value: float, decimals: int) -> str:
    rounded = f"{value:.{decimals}f}"
    return f"{value:.1e}" if value and not float(rounded) else rounded


def _decimals(score: Score) -> int:
    """Enough for two digits of the interval's width, or for three of a value without one; at most four."""
    digits, size = 2, 0.0
    if is_known(score.low) and is_known(score.high):
        size = score.high - score.low
    if size <= 0 and is_known(score.value):
        digits, size = 3, abs(score.value)
    return min(max(digits - 1 - math.floor(math.log10(size)), 0), 4) if size > 0 else 0
