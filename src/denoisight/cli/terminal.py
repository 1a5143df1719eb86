"""A session on the terminal, or from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import DenoisightError

if TYPE_CHECKING:
    from ..predict.session import Session, Turn

COMMANDS = "a phrase; avoid PHRASE, or - PHRASE; undo; redo; history; go NUMBER; save FILE; quit"


def converse(session: Session, show: Callable[[Turn | None], None]) -> None:
    """Take phrases and commands, a line each, until "quit" or the end; what cannot be done is told and changes nothing.

    `show` is given where the session stands after each that moved it.
    """
    prompt = "> " if sys.stdin.isatty() else ""
    if prompt:
        print(COMMANDS, file=sys.stderr)
    while True:
        try:
            line = " ".join(input(prompt).split())
            if line in ("quit", "exit"):
                return
            _obey(line, session, show)
        except EOFError:
            return
        except DenoisightError as error:
            print(f"denoisight: {error}", file=sys.stderr)


def _obey(line: str, session: Session, show: Callable[[Turn | None], None]) -> None:
    verb, _, rest = line.partition(" ")
    match verb, rest:
        case "", _:
            return
        case "help" | "?", "":
            print(COMMANDS, file=sys.stderr)
        case "avoid" | "-", _:
            show(session.avoid(rest))
        case "undo", "":
            show(session.undo())
        case "redo", "":
            show(session.redo())
        case "go", _ if rest.isdecimal():
            show(session.go(int(rest)))
        case "history", "":
            for turn in session.history:
                after = f", after {turn.parent.number}" if turn.parent else ""
                print(f"{'*' if turn is session.turn else ' '} {turn.number}: {turn}{after}")
        case "save", _ if rest:
            session.save(rest)
        case _:
            show(session.refer(line))
