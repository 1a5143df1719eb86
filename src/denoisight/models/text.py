"""Prompts to vectors: words of a fixed vocabulary file through a small CLIP-shaped encoder."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from ..errors import UsageError

log = logging.getLogger(__name__)

MARKS = ("<start>", "<end>", "<unknown>")
START, END, UNKNOWN = range(len(MARKS))
MOST_KEPT = 1024
"""Encoded prompts that are kept; those of Stable Diffusion are a quarter of a megabyte each."""


class Words:
    """Splits text into lower-case words and looks them up in the packaged `vocabulary.txt`, one word a line.

    The file is only ever added to: a word's number is its line, and trained weights depend on it. `known` is how
    many of its words a model has learnt (0: all), so that older models name newer words as unknown.
    """

    def __init__(self, known: int = 0) -> None:
        listed = files(__package__).joinpath("vocabulary.txt").read_text(encoding="utf-8").split()
        listed = listed[:known] if known else listed
        self.number = {word: n for n, word in enumerate([*MARKS, *listed])}

    def __len__(self) -> int:
        return len(self.number)

    def encode(self, text: str, length: int) -> list[int]:
        """Start, words, then end up to `length`; what does not fit is cut."""
        words = split_words(text)
        ids = [START, *(self.number.get(word, UNKNOWN) for word in words)][: length - 1]
        return ids + [END] * (length - len(ids))

    def unknown(self, text: str) -> list[str]:
        """The words of a text that the vocabulary lacks."""
        return [word for word in split_words(text) if word not in self.number]


def split_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


class Prompts(nn.Module):
    """Prompts -> [b n d]. In evaluation mode without gradients a distinct prompt is encoded once and kept, of many the
    last `MOST_KEPT`."""

    clip: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Tensor] = {}
        self.register_load_state_dict_post_hook(lambda module, keys: module._known.clear())

    def train(self, mode: bool = True) -> Prompts:
        self._known.clear()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Prompts:
        self._known.clear()
        return super()._apply(fn, recurse)

    def forward(self, prompts: Sequence[str]) -> Float[Tensor, "b n d"]:
        distinct = list(dict.fromkeys(prompts))
        if self.training or torch.is_grad_enabled():
            rows = self._encode(distinct)
        else:
            fresh = [prompt for prompt in distinct if prompt not in self._known]
            if fresh:
                # Each a tensor of its own, or one that stays would hold on to all that were encoded with it.
                encoded = [row.clone() for row in self._encode(fresh)]
                self._known.update(zip(fresh, encoded, strict=True))
            rows = torch.stack([self._known[prompt] for prompt in distinct])
            for prompt in [*self._known][: max(len(self._known) - MOST_KEPT, 0)]:
                del self._known[prompt]
        return rows[[distinct.index(prompt) for prompt in prompts]]

    def _encode(self, prompts: Sequence[str]) -> Tensor:
        return self.clip(self._ids(prompts).to(self.clip.device)).last_hidden_state

    def _ids(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        raise NotImplementedError

    def unknown(self, prompt: str) -> list[str]:
        """The words of a prompt that were never learnt."""
        return []

    def excess(self, prompt: str) -> str:
        """The end of a prompt that does not fit and would be cut; empty where all of it fits."""
        raise NotImplementedError

    def check(self, prompts: Sequence[str], cut: bool = False) -> None:
        """Warns of words that were never learnt, naming them. Raises `UsageError` for a prompt that is too long; if it
        may be `cut`, as in training, this is warned of."""
        for prompt in dict.fromkeys(prompts):
            if excess := self.excess(prompt):
                shown = excess if len(excess) <= 60 else f"{excess[:60]}..."
                if not cut:
                    raise UsageError(
                        f"The prompt {prompt[:60]!r} has more words than the model takes; leave out {shown!r}."
                    )
                log.warning("Captions are longer than the model takes, and are cut: %r loses %r.", prompt[:60], shown)
                break
        strange = dict.fromkeys(word for prompt in dict.fromkeys(prompts) for word in self.unknown(prompt))
        if strange:
            log.warning("The model never learnt these words and reads each as unknown: %s.", ", ".join(strange))


class TextEncoder(Prompts):
    """The embedded models' own: whole words of a fixed list."""

    def __init__(self, width: int = 64, layers: int = 2, length: int = 24, known: int = 0) -> None:
        super().__init__()
        self.words = Words(known)
        self.clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(self.words),
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                max_position_embeddings=length,
                bos_token_id=START,
                eos_token_id=END,
                pad_token_id=END,
            )
        )

    def _ids(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        length = self.clip.config.max_position_embeddings
        return torch.tensor([self.words.encode(prompt, length) for prompt in prompts])

    def unknown(self, prompt: str) -> list[str]:
        return self.words.unknown(prompt)

    def excess(self, prompt: str) -> str:
        return " ".join(split_words(prompt)[self.clip.config.max_position_embeddings - 2 :])


class ClipPrompts(Prompts):
    """A stock CLIP tokenizer and text encoder, as in Stable Diffusion.

    `padded` fills every prompt up to the longest that fits, as its training did; Marigold leaves its empty prompt
    as short as it is.
    """

    def __init__(self, clip: nn.Module, tokenizer: Any, padded: bool = True) -> None:
        super().__init__()
        self.clip, self.tokenizer, self.padded = clip, tokenizer, padded

    def _ids(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        fill = "max_length" if self.padded else "longest"
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(
            list(prompts), padding=fill, max_length=length, truncation=True, return_tensors="pt"
        )  # fmt: skip
        return tokens.input_ids

    def excess(self, prompt: str) -> str:
        ids = self.tokenizer(prompt, verbose=False).input_ids
        # Two places are taken by the marks of start and end.
        return self.tokenizer.decode(ids[self.tokenizer.model_max_length - 1 : -1])
