"""Prompts to vectors: words of a fixed vocabulary file through a small CLIP-shaped encoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

START, END, UNKNOWN = 0, 1, 2


class Words:
    """Splits text into lower-case words and looks them up in the packaged `vocabulary.txt`, one word a line.

    The file is never re-made: a word's number is its line, and trained weights depend on it.
    """

    def __init__(self) -> None:
        listed = files(__package__).joinpath("vocabulary.txt").read_text(encoding="utf-8").split()
        self.number = {word: n for n, word in enumerate(["<start>", "<end>", "<unknown>", *listed])}

    def __len__(self) -> int:
        return len(self.number)

    def encode(self, text: str, length: int) -> list[int]:
        """Start, words, then end up to `length`; what does not fit is cut."""
        words = re.findall(r"[a-z0-9]+", text.lower())
        ids = [START, *(self.number.get(word, UNKNOWN) for word in words)][: length - 1]
        return ids + [END] * (length - len(ids))

    def unknown(self, text: str) -> list[str]:
        """The words of a text that the vocabulary lacks."""
        return [word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in self.number]


class TextEncoder(nn.Module):
    """Prompts -> [b n d]. In evaluation mode without gradients each distinct prompt is encoded once and kept."""

    def __init__(self, width: int = 64, layers: int = 2, length: int = 24) -> None:
        super().__init__()
        self.words = Words()
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
        self._known: dict[str, Tensor] = {}
        self.register_load_state_dict_post_hook(lambda module, keys: module._known.clear())

    def train(self, mode: bool = True) -> TextEncoder:
        self._known.clear()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TextEncoder:
        self._known.clear()
        return super()._apply(fn, recurse)

    def forward(self, prompts: Sequence[str]) -> Float[Tensor, "b n d"]:
        distinct = list(dict.fromkeys(prompts))
        if self.training or torch.is_grad_enabled():
            rows = self._encode(distinct)
        else:
            fresh = [prompt for prompt in distinct if prompt not in self._known]
            if fresh:
                self._known.update(zip(fresh, self._encode(fresh), strict=True))
            rows = torch.stack([self._known[prompt] for prompt in distinct])
        return rows[[distinct.index(prompt) for prompt in prompts]]

    def _encode(self, prompts: Sequence[str]) -> Tensor:
        return self.clip(self._ids(prompts).to(self.clip.device)).last_hidden_state

    def _ids(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        length = self.clip.config.max_position_embeddings
        return torch.tensor([self.words.encode(prompt, length) for prompt in prompts])
