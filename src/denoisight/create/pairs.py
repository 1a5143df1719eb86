"""Labelled (or only captioned) images -> labelled images that did not exist (Zheng et al., ICLR 2025, Diff-2-in-1)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Query, Sample
from ..data.open import outlines
from ..data.paired import AND
from ..data.readers import Reader
from ..diffusion.schedule import timesteps
from ..errors import DataError, UsageError
from ..models.folder import ModelConfig
from ..predict.model import Model
from ..runtime import item_seed, versions
from .annotate import Annotating, Label, annotate, routes
from .captions import Caption, Captions, Words, caption_source, own_text, said, told_of
from .filters import Filters, Judged, Verdict, accepted, class_frequencies, judge, maskable, thumb
from .synthesize import INVERSION, require_creation, synthesize, with_eta
from .variation import Variation


class Made(NamedTuple):
    """What became of one item: the pair, labels masked as the verdict says, and its provenance."""

    number: int
    sample: Sample
    verdict: Verdict
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Item:
    """An image to be made."""

    number: int
    key: str
    source: Float[Tensor, "3 h w"] | None
    source_key: str
    size: tuple[int, int]
    level: float
    text: str
    told: bool
    avoid: tuple[str, ...]
    guidance: float
    seed: int


OWN_WAY, MILD = Annotating(), Filters()


class Maker:
    """Makes labelled pairs of a source: a pure function of the source's samples, the model and the settings.

    Raises `UsageError` for a model that never learnt to create, or lacks a task or a route.
    """

    def __init__(
        self,
        model: Model,
        source: Reader,
        variation: Variation,
        annotating: Annotating = OWN_WAY,
        filters: Filters = MILD,
        captions: str | Captions = "text",
    ) -> None:
        require_creation(model)
        self.model, self.source, self.source_keys = model, source, source.keys
        self.variation, self.annotating, self.filters = variation, annotating, filters
        timesteps(model.parts.backbone.schedule, variation.steps, start=min(variation.levels))  # too many are told now
        self.captions = caption_source(captions)
        self.said_by = str(getattr(captions, "__name__", captions))
        self.tasks = {name: model.task(name)[0] for name in routes(model, annotating)}
        if asked := [name for name, task in self.tasks.items() if "{text}" in task.prompt]:
            raise UsageError(f"{asked[0]!r} answers to words of its own, which created images have not; leave it out.")
        if isinstance(source, Words) and (variation.noise_level != (1.0, 1.0) or variation.noise == INVERSION):
            raise UsageError("Only images can be noised in part; give --data, or leave the noise level at 1.")
        classes = self.tasks["semantic"].classes if "semantic" in self.tasks else ()
        self.frequencies = class_frequencies(source, classes) if filters.balance else {}
        if filters.min_confidence:
            self._check_doubts()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that the pairs' bytes hang on, but for the versions of libraries; of the source's pictures only their
        sizes in bytes, since none is read beforehand.

        Raises `UsageError` for captions by a function without a name.
        """
        like = next(self.model.parts.backbone.parameters())
        told = {
            "model": self.model.name,
            "weights": self.model.weights_hash[:16],
            "config": _hash_of_config(self.model.parts.config),
            "data": {"reader": self.source.name, "samples": len(self.source), "hash": _hash_of(self.source)},
            "captions": told_of(self.captions),
            "variation": asdict(self.variation),
            "annotating": asdict(self.annotating),
            "filters": asdict(self.filters),
            "dtype": str(like.dtype).removeprefix("torch."),
            "device": like.device.type,
            "threads": torch.get_num_threads(),
        }
        return json.loads(json.dumps(told))

    @cached_property
    def blank(self) -> dict[str, Label]:
        """The labels of a blank picture, found in a single step: of which kinds labels are, and which come with a
        confidence."""
        side = self.model.parts.config.resolution
        quick = replace(self.annotating, steps=1, ensemble=min(self.annotating.ensemble, 2))
        return annotate(self.model, [Query(torch.zeros(3, side, side), key="blank")], quick)[0]

    @property
    def example(self) -> Sample:
        """That picture with its labels."""
        truths = {self.tasks[name].truth: label.annotation for name, label in self.blank.items()}
        return Sample(Query(torch.zeros(3, *next(iter(truths.values())).size), key="blank"), truths)

    def make(self, sources: Sequence[int]) -> Iterator[Made]:
        """What becomes of the images made of these samples, `per_image` of each, in their order.

        Batches are cut, and copies of each other looked for, among these alone, so the same sources give the same bits.
        Raises `DataError` for a source that cannot be read, `UsageError` for a prompt that is too long; captions of
        pictures are cut.
        """
        items = [item for index in sources for item in self._items(index)]
        wanted = [item for item in items if item.told]
        words = [words for item in wanted for words in (item.text, *item.avoid)]
        self.model.parts.backbone.text.check(words, cut=not isinstance(self.source, Words))
        images = self._images(wanted)
        labels = self._labels(wanted, images)
        kept: list[Tensor] = []
        for item in items:
            if item.key not in images:
                yield Made(
                    item.number, self._sample(item, torch.zeros(3, *item.size), {}), NO_CAPTION, self._facts(item)
                )
                continue
            image = images[item.key]
            judged = self._judge(item, image, labels[item.key], kept)
            if judged.verdict.kind != "drop":
                kept.append(thumb(image))
            made = self._sample(item, image, judged.truths)
            yield Made(item.number, made, judged.verdict, self._facts(item, judged))

    def caption(self, sample: Sample) -> Caption:
        if isinstance(self.source, Words) and self.captions is own_text:
            # Who types nothing means it; of a picture nobody knows.
            return Caption(sample.query.text, sample.query.avoid)
        return said(self.captions, sample)

    def keys(self, index: int) -> list[str]:
        """The keys of the images made of one sample: those of one picture share what stands before the #."""
        return [f"{self.source_keys[index]}#{turn}" for turn in range(1, self.variation.per_image + 1)]

    def _items(self, index: int) -> Iterator[_Item]:
        how, backbone = self.variation, self.model.parts.backbone
        sample = self.source[index]
        text, avoid = self.caption(sample)
        avoid = avoid or how.avoid
        longest = self.model.parts.config.resolution if how.res is None else how.res
        size = backbone.fitting_size(*sample.size, longest)
        source = None if isinstance(self.source, Words) else backbone.fit(sample.image, longest)
        weight = float(bool(avoid)) if how.guidance is None else how.guidance
        for turn, key in enumerate(self.keys(index)):
            level = how.levels[item_seed(how.seed, key, 1) % len(how.levels)]
            number, seed = index * how.per_image + turn, item_seed(how.seed, key)
            yield _Item(number, key, source, sample.key, size, level, text or "", text is not None, avoid, weight, seed)

    def _images(self, items: Sequence[_Item]) -> dict[str, Tensor]:
        """By key, of 256 levels, as they will be stored and seen by whoever learns from them."""
        how, backbone, made = self.variation, self.model.parts.backbone, dict[str, Tensor]()
        walking = self.model.parts.config.walk(how.sampler)
        for group in _grouped(items, how.batch):
            sources = [item.source for item in group if item.source is not None]
            images = synthesize(
                backbone,
                [item.text for item in group],
                [item.seed for item in group],
                steps=how.steps,
                sampler=how.sampler,
                guidance=[item.guidance for item in group],
                avoid=[item.avoid for item in group],
                images=torch.stack(sources) if sources else None,
                size=group[0].size,
                noise_level=group[0].level,
                noise=how.noise,
                **with_eta(how.eta),
                **walking,
            ).cpu()
            made |= {item.key: (image * 255).round() / 255 for item, image in zip(group, images, strict=True)}
        return made

    def _labels(self, items: Sequence[_Item], images: Mapping[str, Tensor]) -> dict[str, dict[str, Label]]:
        queries = [Query(images[item.key], item.text, item.key) for item in items]
        found = annotate(self.model, queries, self.annotating, self.variation.seed, self.variation.batch)
        return {item.key: labels for item, labels in zip(items, found, strict=True)}

    def _judge(self, item: _Item, image: Tensor, labels: Mapping[str, Label], others: Sequence[Tensor]) -> Judged:
        names = {name: task.truth for name, task in self.tasks.items()}
        judged = judge(image, labels, item.source, others, self.filters, names=names)
        if judged.verdict.kind != "drop" and self.filters.balance:
            sample = self._sample(item, image, judged.truths)
            if not accepted(sample, item.seed, self.frequencies, self.filters.balance):
                return judged._replace(verdict=Verdict("drop", "frequent classes alone"))
        return judged

    def _sample(self, item: _Item, image: Tensor, truths: Mapping[str, Any]) -> Sample:
        return Sample(Query(image, item.text, item.key), truths)

    def _facts(self, item: _Item, judged: Judged | None = None) -> dict[str, Any]:
        how = self.variation
        facts: dict[str, Any] = {
            "key": item.key,
            "text": item.text,
            "source": item.source_key,
            "data": self.source.name,
            "noise_level": item.level,
            "noise": how.noise,
            "steps": how.steps,
            "sampler": how.sampler,
            "eta": how.eta,
            "seed": item.seed,
            "guidance": item.guidance,
            "avoid": AND.join(item.avoid),  # `datasets` takes an empty list for one of nulls
            "model": self.model.name,
            "weights": self.model.weights_hash[:16],
            "route": self.annotating.route or "own",
            "consistency": self.annotating.consistency,
            "mirror": self.annotating.mirror,
            "versions": versions(),
        }
        if judged:
            facts |= {"verdict": judged.verdict.kind, "reason": judged.verdict.reason}
            facts |= {"confidence": judged.confidence, "valid": judged.valid}
        return facts

    @property
    def undoubted(self) -> list[str]:
        """The tasks of whose labels nothing tells how sure they are."""
        return [name for name, label in self.blank.items() if maskable(label) is None]

    def _check_doubts(self) -> None:
        """Says of which labels nothing tells how sure they are; raises `UsageError` where that is all."""
        sure = self.undoubted
        what = f"Nothing tells how sure labels of {' and '.join(sure)} are, which --min-confidence asks for"
        if len(sure) == len(self.blank):
            raise UsageError(
                f"{what}; take --route both, an --ensemble of 2 or more where the model denoises, or --consistency of "
                "depth and normals."
            )
        if sure:
            log.warning("%s: they are kept as they are. Others are masked by their own confidence.", what)


def source_key(key: str) -> str:
    """The key of the picture that a pair was made of, whatever that is called: see `Maker.keys`."""
    return key.rpartition("#")[0]


log = logging.getLogger(__name__)

NO_CAPTION = Verdict("drop", "no caption")
LOOKED_AT = 16
"""Samples that are looked at before anything is begun."""


def _hash_of_config(config: ModelConfig) -> str:
    """Of how the model is asked where nobody says: its steps, where its walk ends, what its heads read."""
    told = config.model_dump_json(exclude={"name", "provenance"}, exclude_defaults=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _hash_of(source: Reader) -> str:
    """Of what is known of its samples before they are read."""
    lines = source.captions if isinstance(source, Words) else outlines(source)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _grouped(items: Sequence[_Item], batch: int) -> Iterator[list[_Item]]:
    """Items of one size and level, at most `batch` together."""
    alike: dict[tuple[tuple[int, int], float], list[_Item]] = defaultdict(list)
    for item in items:
        alike[item.size, item.level].append(item)
    for group in alike.values():
        yield from (group[i : i + batch] for i in range(0, len(group), batch))


def check_captions(maker: Maker) -> None:
    """Raises `DataError` where none of the first samples has a caption: then hardly any will."""
    first = range(min(len(maker.source), LOOKED_AT))
    if all(maker.caption(maker.source[index]).text is None for index in first):
        raise DataError(
            f"{maker.source_keys[0]!r} has no caption by {maker.said_by!r}, nor have the next ones; give --captions "
            "labels, a .csv or .jsonl FILE, or none, to create without words."
        )
