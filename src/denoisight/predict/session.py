"""One image, asked and corrected in words: every answer stays, as a tree of turns."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from ..annotations import Query
from ..errors import DataError, SessionError, UsageError
from ..render import to_rgb
from ..runtime import write_json
from .model import Model
from .options import Options
from .prediction import Prediction
from .query import ImageLike, as_query

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Turn:
    """One question and its answer; `number` counts from 1 in the order of asking, `parent` is what it went on from."""

    number: int
    parent: Turn | None
    prediction: Prediction

    @property
    def phrase(self) -> str:
        return self.prediction.query.text

    @property
    def avoid(self) -> tuple[str, ...]:
        return self.prediction.query.avoid

    def __str__(self) -> str:
        return " - ".join((self.phrase, *self.avoid))


class Asked(BaseModel):
    """One turn without its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: PositiveInt
    parent: PositiveInt | None
    phrase: str
    avoid: tuple[str, ...]


class Record(BaseModel):
    """What `session.json` holds: the questions in their order, and what their answers hang on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    model: str
    weights: str
    image: str
    pixels: str
    task: str
    options: dict[str, Any]
    turns: tuple[Asked, ...]
    current: PositiveInt | None

    @model_validator(mode="after")
    def _check(self) -> Record:
        if any(turn.number != n or (turn.parent or 0) >= n for n, turn in enumerate(self.turns, start=1)):
            raise ValueError("its turns do not follow one another")
        if (self.current or 0) > len(self.turns):
            raise ValueError("its current turn is none of them")
        return self


class Session:
    """Asks about one image, which is encoded once; `turn` is where it stands, None at its start.

    `history` holds every turn ever taken: going back and asking something else begins another branch and forgets
    nothing. A step that fails changes nothing. One session gives the same answers to the last bit, whatever the path to
    them; see `Options` for their noise. image: whatever `Model.predict` takes. Raises `UsageError` for a task that the
    model cannot do by denoising.
    """

    def __init__(
        self,
        model: Model,
        image: ImageLike,
        task: str = "referring",
        options: Options = Options(),  # noqa: B008
    ) -> None:
        model.task(task, "denoise")
        if options.route == "readout":
            raise UsageError("A session corrects while it denoises; leave route out, or ask for 'denoise'.")
        self.model, self.task, self.options = model, task, options
        self.query = as_query(image)
        self.turn: Turn | None = None
        self.history: tuple[Turn, ...] = ()
        self._undone: tuple[Turn, ...] = ()
        self._look = model.look([self.query], options.res)

    def refer(self, phrase: str) -> Turn:
        """Ask for what a phrase means, with nothing to avoid yet. Raises `UsageError` where it is empty."""
        if not phrase.strip():
            raise UsageError("An empty phrase came; say what to look for, as in 'the red box'.")
        return self._take(phrase.strip(), ())

    def avoid(self, phrase: str) -> Turn:
        """Ask again for the same, now away from what it was confused with. Raises `SessionError` before `refer`."""
        if self.turn is None:
            raise SessionError("There is nothing to correct yet; refer to something first.")
        return self._take(self.turn.phrase, (*self.turn.avoid, phrase.strip()))

    def undo(self) -> Turn | None:
        """Back to what this turn went on from, None at the start. Raises `SessionError` where nothing was done."""
        if self.turn is None:
            raise SessionError("There is nothing to undo.")
        self._undone = (*self._undone, self.turn)
        self.turn = self.turn.parent
        return self.turn

    def redo(self) -> Turn:
        """Forward to what was undone last. Raises `SessionError` where nothing was, or another step was taken since."""
        if not self._undone:
            raise SessionError("There is nothing to redo.")
        *undone, self.turn = self._undone
        self._undone = tuple(undone)
        return self.turn

    def go(self, turn: Turn | int) -> Turn:
        """To any turn of the history, or its number; the next step branches off there. Else raises `SessionError`."""
        found = next((each for each in self.history if each is turn or each.number == turn), None)
        if found is None:
            known = f"1 to {len(self.history)}" if self.history else "none yet"
            raise SessionError(f"There is no such turn in this session; it has {known}.")
        self.turn, self._undone = found, ()
        return found

    def save(self, path: Path | str) -> None:
        """Write the questions, without the answers, as JSON (`docs/conventions.md`).

        Raises `SessionError` where answers hang on start latents, `DataError` where the file cannot be written.
        """
        options = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
        if options.pop("latents") is not None:
            raise SessionError("This session starts from given latents, which no file keeps; start one from a seed.")
        record = Record(
            model=self.model.name,
            weights=self.model.weights_hash,
            image=self.query.key,
            pixels=_digest(self.query),
            task=self.task,
            options=options,
            turns=tuple(
                Asked(number=t.number, parent=_number(t.parent), phrase=t.phrase, avoid=t.avoid) for t in self.history
            ),
            current=_number(self.turn),
        )
        write_json(path, record.model_dump())

    @classmethod
    def replay(cls, model: Model, image: ImageLike, path: Path | str) -> Session:
        """Ask everything again that a saved session asked: the same answers, from the same image and weights.

        Other pixels or weights are used, too, and a warning says so. Raises `DataError` for a file that is no session.
        """
        try:
            record = Record.model_validate_json(Path(path).read_text(encoding="utf-8"))
            options = Options(**{**record.options, "guide": tuple(record.options["guide"])})
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            says = " ".join(str(error).split())
            raise DataError(f"{path} is no saved session ({says}); give a session.json of this version.") from error
        session = cls(model, replace(as_query(image), key=record.image), record.task, options)
        if record.pixels != _digest(session.query):
            log.warning("The session in %s was about another image; its answers may differ.", path)
        if record.weights != model.weights_hash:
            log.warning("The session in %s was held with other weights; its answers may differ.", path)
        for asked in record.turns:
            session.turn = session.go(asked.parent) if asked.parent else None
            session._take(asked.phrase, asked.avoid)
        session.turn = session.go(record.current) if record.current else None
        return session

    def _take(self, phrase: str, avoid: tuple[str, ...]) -> Turn:
        query = replace(self.query, text=phrase, avoid=avoid)
        prediction = self.model.ask(query, self.task, self.options, self._look)
        self.turn = Turn(len(self.history) + 1, self.turn, prediction)
        self.history, self._undone = (*self.history, self.turn), ()
        return self.turn


def _number(turn: Turn | None) -> int | None:
    return turn.number if turn else None


def _digest(query: Query) -> str:
    """Of the picture in eight bits, so that floats and bytes of one picture agree."""
    return hashlib.sha256(to_rgb(query.image).tobytes()).hexdigest()
