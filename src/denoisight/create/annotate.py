"""Images -> what a model says is in them, for all tasks at once, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Annotation, Depth, Normals, Query, least_known, resize_image, stack
from ..errors import UsageError, shortlist
from ..predict.ensemble import agree, can_agree
from ..predict.model import Model
from ..predict.options import Options
from ..predict.readout import head_outputs
from ..tasks import Reading
from .consistency import consistency

Ways = Literal["readout", "denoise", "both"]
COMPARED = ("depth", "normals")
"""Tasks whose labels of one picture can contradict each other."""
NEED_WORDS = ("referring", "instruct")
"""Tasks that answer to words of their own, and are asked only by name."""


class Label(NamedTuple):
    """An annotation and how sure it is of each pixel, in [0, 1]; None where the model cannot tell.

    agreement: of the answers that it was made from, or with another label, in [0, 1]; no pixel is surer than that. None
    where there was one answer alone.
    """

    annotation: Annotation
    confidence: Float[Tensor, "h w"] | None
    agreement: Float[Tensor, "h w"] | None = None


@dataclass(frozen=True)
class Annotating:
    """How created images are annotated.

    tasks: their names; () takes all that the model knows and that need no words. route: "readout" (one shared pass for
    all), "denoise" (task by task), or "both", which are brought to agree; None takes for each task the model's own.
    steps: of the denoise route (None: the model's own). ensemble: members of the denoise route, where their kind can be
    merged. consistency: neither depth nor normals are surer than the two go together, as far as that can be told
    without knowing the camera (`create.consistency`). exact: depth is stored as float32, also where it is metric and
    else rounded to whole millimetres. mirror: by features, the mean of what is seen in the picture and in its mirror
    image, which costs a second pass (data distillation: Radosavovic et al., CVPR 2018).
    """

    tasks: tuple[str, ...] = ()
    route: Ways | None = None
    steps: int | None = None
    ensemble: int = 1
    consistency: bool = False
    exact: bool = False
    mirror: bool = False


def routes(model: Model, how: Annotating) -> dict[str, tuple[str, ...]]:
    """By which routes each task is asked. Raises `UsageError` where the model never learnt to answer so."""
    names = how.tasks or tuple(name for name in _known(model, how.route) if name not in NEED_WORDS)
    if not names:
        by = f" by {'both routes' if how.route == 'both' else how.route}" if how.route else ""
        raise UsageError(
            f"Model {model.name!r} perceives nothing{by}; it learnt {shortlist(model.tasks) or 'no task'}."
        )
    chosen = {name: _routes(model, name, how.route) for name in names}
    if how.mirror and not any("readout" in ways for ways in chosen.values()):
        raise UsageError(
            f"Mirror images are for what is read out of features, as none of {', '.join(names)} would be; leave mirror "
            "out, or take --route readout."
        )
    if how.route == "both" and (alone := [name for name in names if not can_agree(model.task(name)[0])]):
        raise UsageError(f"Two answers cannot be merged for {', '.join(alone)}; name a single --route for these.")
    if how.consistency and (missing := [name for name in COMPARED if name not in chosen]):
        raise UsageError(
            f"Consistency is between depth and normals, but {' and '.join(missing)} would not be labelled; "
            "label both (--task depth,normals), or leave --consistency out."
        )
    return chosen


def annotate(
    model: Model, queries: Sequence[Query], how: Annotating, seed: int = 0, batch: int = 8
) -> list[dict[str, Label]]:
    """For each query a label of every task, at the image's size, on the CPU.

    Features are read under the condition that the heads were trained in, in evaluation mode and without gradients.
    Confidence is 1 - the largest uncertainty that is known of a pixel: the head's, the ensemble's spread, how far the
    two routes differ and, asked for, how far depth and normals contradict each other. A query's text is what a task
    that needs words is asked for. Raises `UsageError` where the model lacks a task or a route.
    """
    chosen = routes(model, how)
    model.parts.modules().eval()
    answers: dict[str, list[list[Label]]] = {name: [[] for _ in queries] for name in chosen}
    if by_features := [name for name, ways in chosen.items() if "readout" in ways]:
        for name, readings in _read(model, queries, by_features, batch, how.mirror).items():
            for place, (annotation, unsure) in zip(answers[name], readings, strict=True):
                place.append(Label(annotation, _sure(unsure)))
    for name in [name for name, ways in chosen.items() if "denoise" in ways]:
        members = how.ensemble if can_agree(model.task(name)[0]) else 1
        options = Options(how.steps, members, route="denoise", seed=seed, batch=batch)
        for place, made in zip(answers[name], model.stream(queries, name, options), strict=True):
            spread = _sure(made.uncertainty)  # of its members, if there are several
            place.append(Label(made.annotation, spread, spread))
    found = [{name: _label(answers[name][i]) for name in chosen} for i in range(len(queries))]
    return [{**labels, **_doubted(labels)} for labels in found] if how.consistency else found


def _known(model: Model, route: Ways | None) -> list[str]:
    if route == "both":
        return [name for name, task in model.reads.items() if name in model.denoises and can_agree(task)]
    return list({"readout": model.reads, "denoise": model.denoises}.get(str(route), model.reads | model.denoises))


def _routes(model: Model, name: str, route: Ways | None) -> tuple[str, ...]:
    if route == "both":
        return model.task(name, "readout")[1], model.task(name, "denoise")[1]
    return (model.task(name, route)[1],)


@torch.no_grad()
def _read(
    model: Model, queries: Sequence[Query], names: Sequence[str], batch: int, mirror: bool
) -> Mapping[str, list[Reading]]:
    """One pass of the network for all tasks, or two."""
    done: dict[str, dict[int, Reading]] = {name: {} for name in names}
    for places in model.groups(queries, model.parts.config.resolution, batch):
        images = model.images([queries[i] for i in places], model.parts.config.resolution)
        captions = [queries[i].text for i in places]
        tasks = [model.reads[name] for name in names]
        for name, outputs in head_outputs(model.parts, images, tasks, captions, mirror).items():
            annotation, uncertainty = model.reads[name].head.read(outputs, images)
            for row, i in enumerate(places):
                unsure = None if uncertainty is None else uncertainty[row].float().cpu()
                done[name][i] = _fitted(Reading(annotation[row].to("cpu"), unsure), queries[i].size)
    return {name: [found[i] for i in range(len(queries))] for name, found in done.items()}


def _fitted(reading: Reading, size: tuple[int, int]) -> Reading:
    unsure = None if reading.uncertainty is None else resize_image(reading.uncertainty[None], *size)[0]
    return Reading(reading.annotation.resize(*size), unsure)


def _sure(uncertainty: Tensor | None) -> Tensor | None:
    return None if uncertainty is None else 1 - uncertainty.clamp(0, 1)


def _label(answers: Sequence[Label]) -> Label:
    """One of several answers, no surer than any of them is, nor than they agree."""
    if len(answers) == 1:
        return answers[0]
    merged, unsure = agree(stack(_alike([answer.annotation for answer in answers])))
    agreement = _least(_sure(unsure), *(answer.agreement for answer in answers))
    return Label(merged, _least(agreement, *(answer.confidence for answer in answers)), agreement)


def _alike(answers: Sequence[Annotation]) -> Sequence[Annotation]:
    """Depth of which one answer knows more than the other, as both know it: over its median, where that is up to a
    factor."""
    depths = [answer for answer in answers if isinstance(answer, Depth)]
    gauges = {depth.gauge for depth in depths}
    if len(gauges) < 2:
        return answers
    gauge = least_known(gauges)
    return [depth if depth.gauge == gauge else depth.over_median().up_to(gauge) for depth in depths]


def _least(*known: Tensor | None) -> Tensor | None:
    """Pixel by pixel, of those that are known."""
    found = [each for each in known if each is not None]
    return torch.stack(found).amin(0) if found else None


def _doubted(labels: Mapping[str, Label]) -> dict[str, Label]:
    """Depth and normals, neither surer than they go together."""
    depth, normals = (labels[name].annotation for name in COMPARED)
    if not isinstance(depth, Depth) or not isinstance(normals, Normals):
        return {}
    together = consistency(depth, normals)
    return {
        name: Label(label.annotation, _least(together, label.confidence), _least(together, label.agreement))
        for name, label in labels.items()
        if name in COMPARED
    }
