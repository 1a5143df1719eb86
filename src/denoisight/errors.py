"""Everything that denoisight raises on purpose.

DenoisightError           exit 1   the run failed
├── UsageError            exit 2   the call itself is wrong: an unknown name, a flag that does not fit
│   └── RecipeError       exit 2   a recipe's values do not go together
├── DataError             exit 3   an input is missing or invalid
│   └── ProtocolError     exit 3   a number was asked for that could not be compared with any other
├── MissingExtraError     exit 4   an optional package is not installed
├── WeightsError          exit 5   a model cannot be reached or read
└── SessionError          exit 1   an interactive session cannot do what was asked
    └── CriticError       exit 1   who was asked for a correction gave no usable answer

A message says what came, what was needed and what to do.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")


class DenoisightError(Exception):
    exit_code = 1


class UsageError(DenoisightError):
    exit_code = 2


class RecipeError(UsageError):
    pass


class DataError(DenoisightError):
    exit_code = 3


class ProtocolError(DataError):
    pass


class MissingExtraError(DenoisightError):
    exit_code = 4


class WeightsError(DenoisightError):
    exit_code = 5


class SessionError(DenoisightError):
    pass


class CriticError(SessionError):
    pass


def pick(table: Mapping[str, Value], name: str, noun: str) -> Value:
    """Look `name` up in one of the rooms' tables; an unknown name lists the known ones."""
    if name in table:
        return table[name]
    close = get_close_matches(name, table, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"Unknown {noun} {name!r}. {hint}Known: {', '.join(sorted(table))}.")


def shortlist(items: Iterable[object], most: int = 5) -> str:
    """The first few items and the count of the rest, for messages about many."""
    every = [str(item) for item in items]
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
