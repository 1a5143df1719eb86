"""What a query is to be kept away from, as guidance (Pang et al., ICLR 2025: correctional prompts)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ..annotations import Query
from ..diffusion.guidance import classifier_free, share_out, two_way, within
from ..diffusion.prediction import Denoiser
from ..errors import UsageError
from ..models.backbone import Backbone, Condition
from ..tasks import Task

if TYPE_CHECKING:
    from .options import Options


def steer(backbone: Backbone, cond: Condition, queries: Sequence[Query], task: Task, options: Options) -> Denoiser:
    """The backbone's denoiser for these queries and their ensembles, [b * e] rows, members of a query in a row.

    What is to be avoided takes the place of the empty prompt, in every branch where the network edits. Queries may have
    different numbers of corrections: the batch is as large as the most of them make it.
    """
    weights = [weight_of(query, options) for query in queries]
    rows = [_negatives(query, task, options) for query in queries]
    counts = [len(row) for row in rows]
    columns = [[row[k] if k < len(row) else "" for row in rows] for k in range(max(counts, default=0))]
    unsaid = [Condition(cond.image, backbone.text(prompts)).repeat(options.ensemble) for prompts in columns]
    words, image = (
        share_out(given, counts, how).repeat_interleave(options.ensemble, 1)
        for given, how in ((weights, options.negatives), ([options.image_guidance] * len(queries), "mean"))
    )
    if backbone.edits:
        empty = [replace(each, image=torch.zeros_like(each.image)) for each in unsaid]
        guided = two_way(backbone.denoise, unsaid, empty, words, image, join=Condition.join)
    else:
        guided = classifier_free(backbone.denoise, unsaid, words, join=Condition.join)
    return within(guided, backbone.denoise, *options.guide, backbone.schedule.num_timesteps)


def weight_of(query: Query, options: Options) -> float:
    """How strongly a query's words steer: as the options say, else 1 with something to avoid and 0 without."""
    return float(bool(query.avoid)) if options.guidance is None else options.guidance


def told(query: Query, options: Options) -> dict[str, str | float]:
    """What a prediction's settings tell of how it was steered."""
    weight = weight_of(query, options)
    acting = {"negatives": options.negatives, "guide": "{:g} to {:g}".format(*options.guide)}
    image = {"image_guidance": options.image_guidance} if options.image_guidance else {}
    return {"guidance": weight, "avoid": "; ".join(query.avoid), **(acting if weight or image else {}), **image}


def check(query: Query, task: Task, options: Options, backbone: Backbone) -> None:
    """Raises `UsageError` for corrections that are empty, come twice, say what is asked for or have nothing to correct,
    and for a weight towards the image where the network does not edit."""
    if options.image_guidance and not backbone.edits:
        raise UsageError("image_guidance is for networks that edit, as InstructPix2Pix does; leave it at 0 for others.")
    if not all(phrase.strip() for phrase in query.avoid):
        raise UsageError("What is to be avoided is empty; say what the words were confused with, or leave it out.")
    if query.avoid and "{text}" in task.prompt and not query.text.strip():
        raise UsageError(f"There is nothing to keep away from {query.avoid[0]!r}; say first what is asked for.")
    said, *negatives = (" ".join(task.instruct(words).lower().split()) for words in (query.text, *query.avoid))
    for place, (phrase, negative) in enumerate(zip(query.avoid, negatives, strict=True)):
        if negative == said:
            raise UsageError(
                f"Avoiding {phrase!r} would be avoiding {said!r}, which is asked for; name something else."
            )
        if negative in negatives[:place]:
            raise UsageError(f"{phrase!r} is to be avoided twice; name it once.")


def _negatives(query: Query, task: Task, options: Options) -> list[str]:
    """The prompts that stand for what a query keeps away from; none where no weight asks for them."""
    if not weight_of(query, options) and not options.image_guidance:
        return []
    return [task.instruct(phrase) for phrase in query.avoid] or [""]
