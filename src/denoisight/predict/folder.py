"""A session's folder: the mask and an overlay of each turn, `session.json`, and a sheet that shows all turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..annotations import Mask
from ..data.images import write_png
from ..render import contact_sheet, overlay, to_rgb
from .session import Session, Turn


def write_turn(session: Session, turn: Turn, out: Path | str) -> list[Path]:
    """Write one turn as `turn-01_*`, the overlay last, then the session and its sheet; returns the turn's files.

    Each file is whole or absent. The first turn's writing removes the `turn-*` files of an earlier session. Raises
    `DataError` where the folder cannot be written.
    """
    out, name, answer = Path(out), f"turn-{turn.number:02}", turn.prediction
    if turn.number == 1 and (out / "session.json").exists():
        for stale in out.glob("turn-[0-9][0-9]*_*.*"):
            stale.unlink()
    written = replace(answer, query=replace(answer.query, key=name)).save(out)
    written.append(write_png(out / f"{name}_overlay.png", overlay(answer.query.image, answer.annotation)))
    session.save(out / "session.json")
    write_png(out / "sheet.png", sheet(session))
    return written


def sheet(session: Session) -> np.ndarray:
    """A row for each turn: the image, the answer and both together, over what was asked."""
    rows, captions = [], []
    for turn in session.history:
        answer = turn.prediction
        rows.append([to_rgb(answer.query.image), answer.picture(), overlay(answer.query.image, answer.annotation)])
        captions.append(describe(turn))
    return contact_sheet(rows, ["image", session.task, "overlay"], captions)


def share(turn: Turn) -> float:
    """The share of the picture that the answer covers; NaN for answers that are no mask."""
    answer = turn.prediction.annotation
    return float(answer.inside.float().mean()) if isinstance(answer, Mask) else float("nan")


def describe(turn: Turn) -> str:
    """One line: "2: the red box - the left one (3.1 % of the picture)"."""
    return f"{turn.number}: {turn} ({100 * share(turn):.1f} % of the picture)"
