"""A call of `denoisight create` for labelled images: what was asked for -> a maker, an engine, a sheet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ..create.annotate import Annotating, Ways
from ..create.captions import KNOWN, Words
from ..create.engines import make_locally, make_on_ray
from ..create.filters import Filters
from ..create.folder import pairs_folder
from ..create.pairs import Maker, check_captions
from ..create.shards import Slices
from ..create.sheet import write_pairs_sheet
from ..create.variation import Variation
from ..data.open import absolute_spec, open_pictures
from ..data.paired import written
from ..data.readers import Reader
from ..data.shards import read_lines, reasons
from ..errors import DataError, UsageError, shortlist
from ..predict.load import absolute_name, load
from ..predict.model import Model
from ..runtime import world

log = logging.getLogger(__name__)

LEVEL = 0.6
"""The noise level of Diff-2-in-1's released code."""
STRANGE = (
    "The model has not learnt how such images look: let it learn that (denoisight improve --adapt-time 20m) and create "
    "with what that wrote, or take a lower noise level."
)


@dataclass(frozen=True)
class Order:
    """What was asked for, in plain values, so that it can be sent to other machines."""

    model: str
    device: str = "auto"
    precision: str = "fp32"
    allow_pickle: bool = False
    data: str = ""
    split: str = "train"
    words: tuple[str, ...] = ()
    num: int = 1
    per_image: int = 4
    noise_level: str = ""
    noise: str = "gaussian"
    captions: str = "text"
    avoid: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    route: Ways | None = None
    ensemble: int = 1
    consistency: bool = False
    exact: bool = False
    mirror: bool = False
    filters: Filters = Filters()
    steps: int | None = None
    sampler: str = ""
    eta: float = 0.0
    guidance: float | None = None
    negative: str = ""
    res: int | None = None
    seed: int = 0
    batch: int = 16

    def absolute(self) -> Order:
        """The same for a process that runs in another folder."""
        captions = self.captions if self.captions in KNOWN else str(Path(self.captions).absolute())
        return replace(self, model=absolute_name(self.model), data=absolute_spec(self.data), captions=captions)

    def source(self, model: Model) -> Reader:
        """Truths are read only where something is made of them: then of pictures that have all of them."""
        if self.data:
            return open_pictures(self.data, self.split, annotated=self.captions == "labels" or self.filters.balance > 0)
        side = self.res or model.parts.config.resolution
        return Words(self.words, (side, side))

    def maker(self) -> Maker:
        model = load(self.model, self.device, self.precision, self.allow_pickle)
        level = noise_levels(self.noise_level) if self.data else (1.0, 1.0)
        steps = 25 if self.steps is None else self.steps
        guidance = 2.0 if self.guidance is None and not self.data else self.guidance
        sampler = self.sampler or ("" if self.data else "ddim")
        avoid = (*self.avoid, *filter(None, [self.negative]))
        variation = Variation(
            self.per_image if self.data else self.num, level, self.noise, steps, sampler, guidance,
            avoid, self.seed, self.res, self.batch, self.eta,
        )  # fmt: skip
        annotating = Annotating(self.tasks, self.route, None, self.ensemble, self.consistency, self.exact, self.mirror)
        return Maker(model, self.source(model), variation, annotating, self.filters, self.captions)


def noise_levels(text: str) -> tuple[float, float]:
    """From "0.6" or "0.4:0.8". Raises `UsageError` for what is no number."""
    low, _, high = text.partition(":")
    try:
        return (float(low), float(high or low)) if text else (LEVEL, LEVEL)
    except ValueError as error:
        raise UsageError(f"The noise level {text!r} is no number; give one such as 0.6, or LOW:HIGH.") from error


def create_pairs(
    order: Order,
    out: Path,
    format: Literal["shards", "folder"] = "shards",
    shard_size: int = 100,
    share: tuple[int | None, int | None] = (None, None),
    engine: Literal["local", "ray"] = "local",
    workers: int = 2,
) -> None:
    """Write the pairs, tell what became of them, and draw a sheet. `share` is (which, of how many workers)."""
    if engine == "ray":
        if share != (None, None):
            raise UsageError("Ray divides the shards among its workers itself; leave out --num-shards and --shard.")
        order = order.absolute()
    maker = order.maker()
    for note in maker.source.notes:
        log.info("%s", note)
    check_captions(maker)
    if format == "folder":
        if share != (None, None) or engine != "local" or world()[1] > 1:
            raise UsageError("A folder is written by one process; several write shards (--format shards).")
        lost = pairs_folder(maker, out, shard_size)
        _tell(out, len(written(out)), dict(Counter(lost.values()).most_common()))
    else:
        slices = Slices.of(maker, shard_size)
        if engine == "ray":
            make_on_ray(partial(Order.maker, order), out.absolute(), slices, workers, order.device != "cpu")
        else:
            make_locally(maker, out, shard_size, *share)
        lines = [line for line in read_lines(out) if line.is_whole(out)]
        pairs = sum(line.pairs for line in lines)
        if len(lines) < len(slices):
            log.info("%d of %d shards are finished; the others are other workers'.", len(lines), len(slices))
            if not pairs:
                log.info("%s holds no labelled images yet.", out)
                return
        _tell(out, pairs, reasons(lines))
    log.info("%s", write_pairs_sheet(out, maker.source))


def check_made(pairs: int, dropped: Mapping[str, int]) -> None:
    """Raises `DataError` where nothing is left; warns where most pictures show nothing. `dropped`: how many, by
    reason."""
    spoilt = dropped.get("blank", 0) + dropped.get("saturated", 0)
    remedy = STRANGE if 2 * spoilt > sum(dropped.values()) else "Take another noise level, or looser filters."
    if not pairs:
        raise DataError(f"Every image was dropped{_why(dropped)}. {remedy}")
    if spoilt > pairs:
        log.warning("Most images are blank, or black and white. %s", remedy)


def _tell(out: Path, pairs: int, dropped: Mapping[str, int]) -> None:
    check_made(pairs, dropped)
    log.info("%s holds %d labelled images; %d were dropped%s.", out, pairs, sum(dropped.values()), _why(dropped))
    log.info("Train on them with: denoisight train TASK --data %s", out)


def _why(dropped: Mapping[str, int]) -> str:
    return f": {shortlist(f'{n} {reason}' for reason, n in dropped.items())}" if dropped else ""
