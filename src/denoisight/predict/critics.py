"""Who says what an answer was confused with: a person, the truth, chance; a chat model is in `chat`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from ..annotations import Mask
from ..errors import CriticError, DataError, SessionError, UsageError
from ..runtime import generator
from .prediction import Prediction
from .session import Session, Turn

log = logging.getLogger(__name__)

Critic: TypeAlias = Callable[[Prediction], str | None]
"""From what is known, the answer with its query (image, text and what it avoids already), to the next thing to avoid,
or None. Raises `CriticError` where it has no usable answer."""

MOST_ROUNDS = 10


def person(ask: Callable[[str], str]) -> Critic:
    """Asks somebody, as `input` does; an empty answer, or the end of the input, is none."""

    def critic(prediction: Prediction) -> str | None:
        try:
            return ask(f"What was {prediction.query.text!r} confused with (empty: nothing)? ").strip() or None
        except EOFError:
            return None

    return critic


def oracle(truth: Mask, confusers: Sequence[tuple[str, Mask]], least: float = 0.05) -> Critic:
    """Names, by its phrase, the confuser that most of the answer's wrong pixels lie on, for studies.

    None where that is less than the share `least` of the answer. What is avoided already is not named again. Raises
    `DataError` where the answer's size is not the masks'.
    """

    def critic(prediction: Prediction) -> str | None:
        answer, avoided = prediction.annotation, _avoided(prediction)
        if not isinstance(answer, Mask) or answer.size != truth.size:
            raise DataError(f"The oracle knows a mask of {truth.size}, but was asked about {answer.size}.")
        wrong = answer.inside & ~truth.inside
        overlaps = {
            phrase: int((wrong & mask.inside).sum()) for phrase, mask in confusers if _plain(phrase) not in avoided
        }
        worst = max(overlaps, key=overlaps.__getitem__, default=None)
        return worst if worst and overlaps[worst] > least * int(answer.inside.sum()) else None

    return critic


def chance(phrases: Sequence[str], seed: int = 0) -> Critic:
    """Names any of the phrases that is not avoided yet, by the seed, the image's key and the round."""

    def critic(prediction: Prediction) -> str | None:
        avoided = _avoided(prediction)
        left = [phrase for phrase in phrases if _plain(phrase) not in avoided]
        draw = generator(seed, prediction.query.key, len(prediction.query.avoid))
        return left[int(torch.randint(len(left), (), generator=draw))] if left else None

    return critic


def check_rounds(rounds: int) -> None:
    if not 1 <= rounds <= MOST_ROUNDS:
        raise UsageError(f"{rounds} rounds of correction were asked for; give 1 to {MOST_ROUNDS}.")


def correct(
    session: Session, critic: Critic, rounds: int = 3, seen: Callable[[Turn], object] = lambda turn: None
) -> Turn:
    """Correct the session's answer as often as the critic has something new to say, at most `rounds` in 1 to 10.

    Each new turn is shown to `seen`; the last one comes back. Whatever goes wrong with the critic, the answer that is
    there stands, and the log says why it was the last. Raises `UsageError` for other numbers of rounds, `SessionError`
    where nothing was asked yet.
    """
    check_rounds(rounds)
    if session.turn is None:
        raise SessionError("There is nothing to correct yet; refer to something first.")
    for _ in range(rounds):
        known = session.turn.prediction
        try:
            phrase = critic(known)
            if why := _finished(phrase, known):
                log.info("Corrections end: %s.", why)
                break
            turn = session.avoid(str(phrase))
        except (CriticError, UsageError) as error:
            log.warning("Corrections end, and the answer stands: %s", error)
            break
        seen(turn)
    return session.turn


def _finished(phrase: str | None, prediction: Prediction) -> str:
    if phrase is None or not phrase.strip():
        return "the critic has none"
    if _plain(phrase) == _plain(prediction.query.text):
        return f"the critic named {phrase!r}, which is asked for"
    if _plain(phrase) in _avoided(prediction):
        return f"the critic named {phrase!r} again"
    return ""


def _avoided(prediction: Prediction) -> set[str]:
    return set(map(_plain, prediction.query.avoid))


def _plain(phrase: str) -> str:
    return " ".join(phrase.lower().split())
