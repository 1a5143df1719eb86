"""A critic that asks a chat model, of any server that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from string import Template
from typing import Any

from ..errors import CriticError, UsageError
from ..runtime import optional
from .critics import Critic
from .prediction import Prediction

LONGEST = 200
"""Characters; what is longer is no phrase."""


def chat(
    llm: str, caption: str = "", *, base_url: str | None = None, timeout_s: float = 30.0, retries: int = 2
) -> Critic:
    """Asks the chat model `llm` what could be confused with the phrase, given the picture's caption.

    base_url: of a server other than OpenAI's, which may need no key (default: OPENAI_BASE_URL). The key is
    DENOISIGHT_LLM_KEY, else OPENAI_API_KEY. timeout_s: of each attempt; failed ones are repeated `retries` times, after
    growing pauses. The critic raises `CriticError` for an answer that does not come, is refused or is not as asked for.
    Raises `MissingExtraError` without the extra "llm", `UsageError` where a key is needed and there is none.
    """
    openai = optional("openai", "llm")
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
    key = os.environ.get("DENOISIGHT_LLM_KEY") or os.environ.get("OPENAI_API_KEY")
    if not (key or base_url):
        raise UsageError("A chat model needs a key in DENOISIGHT_LLM_KEY, or the --base-url of a server without.")
    client = openai.OpenAI(api_key=key or "none", base_url=base_url, timeout=timeout_s, max_retries=retries)

    def critic(prediction: Prediction) -> str | None:
        asked = {"role": "user", "content": prompt(prediction, caption)}
        try:
            answer = client.chat.completions.create(model=llm, messages=[asked])
        # A server may also answer with what is no JSON at all.
        except (openai.OpenAIError, ValueError) as error:
            raise CriticError(f"The chat model {llm!r} gave no answer ({type(error).__name__}: {error}).") from error
        return read_answer(_content(answer, llm))

    return critic


def prompt(prediction: Prediction, caption: str) -> str:
    """What the chat model is asked: the packaged `critic_prompt.txt`, filled in."""
    template = Template(files(__package__).joinpath("critic_prompt.txt").read_text(encoding="utf-8"))
    query = prediction.query
    return template.substitute(
        caption=caption.strip() or "unknown", phrase=query.text, avoid="; ".join(query.avoid) or "nothing"
    )


def read_answer(text: str) -> str | None:
    """The phrase in an answer such as `{"avoid": "the left one"}`, with words or a fence around it or not; None for
    null and for an empty phrase. Raises `CriticError` where there is none to be found."""
    if text.strip() == "null":
        return None
    for brace in re.finditer(r"\{", text):
        try:
            answer, _ = json.JSONDecoder().raw_decode(text, brace.start())
        except ValueError:
            continue
        phrase = answer.get("avoid", ...)
        if phrase is None:
            return None
        if isinstance(phrase, str) and len(phrase) <= LONGEST:
            return " ".join(phrase.split()) or None
    raise CriticError(f'The chat model should have answered {{"avoid": "..."}}, but said {text[:LONGEST]!r}.')


def _content(answer: Any, llm: str) -> str:
    try:
        message = answer.choices[0].message
        refusal, content = message.refusal, message.content
    except (AttributeError, IndexError, TypeError) as error:
        raise CriticError(f"The server of {llm!r} answered with something that is no chat completion.") from error
    if refusal or not content:
        raise CriticError(f"The chat model {llm!r} declined to answer: {refusal or 'it said nothing'}.")
    return str(content)
