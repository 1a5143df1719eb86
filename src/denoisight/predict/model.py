"""What a user holds: a model that can be asked."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..annotations import Annotation, Query, resize_image
from ..diffusion.samplers import Step
from ..errors import DenoisightError, UsageError, pick
from ..models.backbone import Condition
from ..models.embedded import SHIPPED
from ..models.folder import Parts, TaskEntry, save
from ..runtime import DTYPES, item_seed, pick_device, warn_of_emulation
from ..tasks import Reading, Task, make_tasks
from ..tasks.instruct import INSTRUCT, understand
from .denoise import denoise
from .ensemble import agree, can_agree
from .options import Options, Route
from .prediction import Prediction
from .query import ImageLike, as_query
from .readout import read
from .steer import check, steer, told


@dataclass(frozen=True, eq=False)
class Look:
    """Images as a network sees them: [b 3 h w] in [0, 1] at its size, and encoded [b c h2 w2]."""

    images: Tensor
    latents: Tensor


class _Answer(NamedTuple):
    """One image's result at the network's size."""

    reading: Reading
    latent: Tensor | None = None
    trajectory: tuple[Annotation, ...] = ()


class Model:
    """A backbone with the tasks it was trained for, by one route or both.

    `denoises` and `reads` map task names to tasks; `predict` asks one of them.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.denoises = {entry.name: task_of(entry) for entry in parts.config.denoises if entry.name != INSTRUCT}
        self.reads = {entry.name: task_of(entry) for entry in parts.config.reads}

    @property
    def name(self) -> str:
        return self.parts.config.name

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.denoises | self.reads)

    @property
    def follows_instructions(self) -> bool:
        """Whether it can be asked for its tasks in free words."""
        return any(entry.name == INSTRUCT for entry in self.parts.config.denoises)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over all weights in a fixed order: two models with one hash give the same answers."""
        digest = hashlib.sha256()
        for name, weights in sorted(self.parts.modules().state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def steps(self, task: str) -> int:
        """How many denoising steps it takes for a task where nobody says."""
        own = {entry.name: entry.steps for entry in self.parts.config.denoises}
        return own.get(task) or self.parts.config.steps

    def stop_at(self, task: str) -> float:
        """The noise level at which it leaves its walk for a task where nobody says; 0 where it takes every step."""
        return {entry.name: entry.stop_at for entry in self.parts.config.denoises}.get(task) or 0.0

    def to(self, device: str | torch.device = "auto", dtype: str = "fp32") -> Model:
        """Move to a device and precision ("fp32", "bf16", "fp16"), in place."""
        place, precision = pick_device(str(device)), pick(DTYPES, dtype, "precision")
        warn_of_emulation(place, dtype)
        for module in self.parts.modules().values():
            # Not diffusers' own `to`, which warns of layers to keep in float32 although there are none.
            nn.Module.to(module, place, precision)
        return self

    def task(self, name: str, route: Route | None = None) -> tuple[Task, Route]:
        """A task and the route it will take. Raises `UsageError` where the model never learnt it."""
        ways: dict[Route, dict[str, Task]] = {"denoise": self.denoises, "readout": self.reads}
        for way in sorted(ways, key=lambda way: way != self.parts.config.first):
            if name in ways[way] and route in (None, way):
                return ways[way][name], way
        learnt = [f"{n} (denoise)" for n in self.denoises] + [f"{n} (readout)" for n in self.reads]
        asked = f"{name!r} by {route}" if route else repr(name)
        # A folder's model does not know where it lies.
        model = self.name if self.name in SHIPPED else "FOLDER"
        raise UsageError(
            f"Model {self.name!r} cannot predict {asked}; it learnt {', '.join(learnt) or 'nothing'}. "
            f"Teach it with: denoisight train {name} --model {model} --data DIR"
        )

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        task: str,
        *,
        prompt: str = "",
        steps: int | None = None,
        ensemble: int = 1,
        res: int | None = None,
        route: Route | None = None,
        seed: int = 0,
        batch: int = 8,
        sampler: str = "ddim",
        match_input_resolution: bool = True,
        trajectory: bool = False,
        ensemble_method: str = "closed-form",
        latents: Tensor | None = None,
        avoid: str | Sequence[str] = (),
        guidance: float | None = None,
        guide: tuple[float, float] = (0.0, 1.0),
        negatives: str = "mean",
        image_guidance: float = 0.0,
        stop_at: float | None = None,
        mirror: bool = False,
    ) -> Any:
        """One `Prediction` for one image, a list for a list; `Options` says what the keywords mean.

        images: paths, PIL images, uint8 arrays [h w 3], tensors [3 h w] in [0, 1], or Queries; sizes may differ.
        avoid: what the prompt was confused with, a phrase or several.
        """
        options = Options(
            steps, ensemble, res, route, seed, batch, sampler, match_input_resolution, trajectory,
            ensemble_method, latents, guidance, guide, negatives, image_guidance, stop_at, mirror,
        )  # fmt: skip
        if isinstance(images, ImageLike):
            return next(self.stream([as_query(images, 0, prompt, avoid)], task, options))
        queries = [as_query(image, index, prompt, avoid) for index, image in enumerate(images)]
        return list(self.stream(queries, task, options))

    @torch.no_grad()
    def look(self, queries: Sequence[Query], res: int | None = None) -> Look:
        """Images encoded once, for several questions; of one size after fitting to `res`, as in `Options`."""
        images = self.images(queries, self.parts.config.resolution if res is None else res)
        return Look(images, self.parts.backbone.see(images))

    def ask(self, query: Query, task: str, options: Options, look: Look) -> Prediction:
        """A prediction by denoising for one image that was encoded before, at the same `res`."""
        chosen, way = self.task(task, "denoise")
        return next(self._predict([query], chosen, way, options, look))

    def stream(
        self,
        queries: Sequence[Query],
        task: str,
        options: Options = Options(),  # noqa: B008
    ) -> Iterator[Prediction]:
        """Predictions in the order of the queries; images that are worked on at one size share batches.

        Under the task "instruct" each query's own text says what is asked for (`tasks.instruct`), and the
        predictions are of the tasks that were understood.
        """
        if task == INSTRUCT:
            yield from self._follow(queries, options)
            return
        chosen, way = self.task(task, options.route)
        yield from self._predict(queries, chosen, way, options)

    def _predict(
        self, queries: Sequence[Query], task: Task, way: Route, options: Options, look: Look | None = None
    ) -> Iterator[Prediction]:
        config = self.parts.config
        steps = (options.steps or self.steps(task.name)) if way == "denoise" else 1
        longest = config.resolution if options.res is None else options.res
        members = options.ensemble if way == "denoise" else 1
        if options.stop_at is None:
            options = replace(options, stop_at=self.stop_at(task.name))
        settings: dict[str, str | int | float] = {"route": way, "steps": steps, "ensemble": members}
        settings |= {"seed": options.seed, "res": longest}
        if way == "denoise":
            settings |= {"stop_at": options.stop_at} if options.stop_at else {}
            self._check(queries, task, options)
        elif options.guidance or options.image_guidance or any(query.avoid for query in queries):
            raise UsageError(f"{task.name!r} is read out in one pass, which words cannot steer; leave guidance out.")
        elif options.mirror:
            settings |= {"mirror": True}
        done: dict[int, Prediction] = {}
        for indices in self.groups(queries, longest, options.batch):
            group = [queries[i] for i in indices]
            if way == "denoise":
                answers = self._denoise(group, look or self.look(group, longest), task, steps, options)
            else:
                answers = self._read(self.images(group, longest), task, [query.text for query in group], options.mirror)
            for i, answer in zip(indices, answers, strict=True):
                size = queries[i].size if options.match_input_resolution else answer.reading.annotation.size
                steered = told(queries[i], options) if way == "denoise" else {}
                done[i] = _finish(queries[i], task.name, answer, size, settings | steered)
        yield from (done[i] for i in range(len(queries)))

    def _follow(self, queries: Sequence[Query], options: Options) -> Iterator[Prediction]:
        if not self.follows_instructions:
            raise UsageError(f"Model {self.name!r} was not taught to follow instructions; ask it for one of its tasks.")
        asked = [understand(query.text)[0] for query in queries]
        done: dict[int, Prediction] = {}
        for name in dict.fromkeys(asked):
            task = replace(self.task(name, "denoise")[0], prompt="{text}")
            places = [i for i, other in enumerate(asked) if other == name]
            done |= zip(places, self._predict([queries[i] for i in places], task, "denoise", options), strict=True)
        yield from (done[i] for i in range(len(queries)))

    def save_pretrained(
        self,
        folder: Path | str,
        card: str = "",
        dtype: str = "fp32",
        provenance: dict[str, str | int | float] | None = None,
    ) -> None:
        """Write a folder that `load` opens; `provenance` is added to what the model already tells of its making."""
        told = {**self.parts.config.provenance, **(provenance or {})}
        save(self.parts.with_config(provenance=told), folder, card, DTYPES[dtype])

    def _check(self, queries: Sequence[Query], task: Task, options: Options) -> None:
        if options.mirror:
            raise UsageError(
                f"{task.name!r} is denoised, and mirror images are for what is read out of features; leave mirror out, "
                "or ask for an ensemble."
            )
        if options.ensemble > 1 and not can_agree(task):
            raise UsageError(f"Several answers cannot be merged for {task.name!r}; use --ensemble 1.")
        for query in queries:
            check(query, task, options, self.parts.backbone)
        self.parts.backbone.text.check([task.instruct(words) for q in queries for words in (q.text, *q.avoid)])

    def groups(self, queries: Sequence[Query], longest: int, batch: int) -> Iterator[list[int]]:
        """Places of queries that are worked on at one size, at most `batch` together."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, query in enumerate(queries):
            by_size[self.parts.backbone.fitting_size(*query.size, longest)].append(i)
        for indices in by_size.values():
            yield from (indices[i : i + batch] for i in range(0, len(indices), batch))

    def images(self, queries: Sequence[Query], longest: int) -> Float[Tensor, "b 3 h w"]:
        """The pictures of queries of one group as the network takes them, in [0, 1]."""
        backbone = self.parts.backbone
        images = torch.stack([backbone.fit(query.image, longest) for query in queries])
        return images.to(backbone.device, next(backbone.parameters()).dtype)

    @torch.no_grad()
    def _denoise(self, queries: Sequence[Query], look: Look, task: Task, steps: int, options: Options) -> list[_Answer]:
        members, backbone, images = range(options.ensemble), self.parts.backbone, look.images
        cond = Condition(look.latents, backbone.text([task.instruct(query.text) for query in queries]))
        seeds = [[item_seed(options.seed, query.key, member) for member in members] for query in queries]
        kept: list[Step] = []
        start = None if options.latents is None else options.latents.to(images)
        for step in denoise(
            backbone,
            cond,
            seeds,
            steps=steps,
            sampler=options.sampler,
            denoiser=steer(backbone, cond, queries, task, options),
            **self.parts.config.walk(options.sampler),
            start=start,
            stop_at=options.stop_at or 0.0,
        ):
            kept = [*kept, step] if options.trajectory else [step]
        if not kept[-1].clean.isfinite().all():
            raise DenoisightError(
                f"Model {self.name!r} computed NaN or infinity in {kept[-1].clean.dtype}; try --precision bf16 or fp32."
            )
        # The last x is the answer: mostly the last clean estimate, but some stock models end a little before it.
        estimates = [*(step.clean for step in kept[:-1]), kept[-1].x]
        stages = [self._merge(task, made, images, options.ensemble, options.ensemble_method) for made in estimates]
        latents = kept[-1].x.unflatten(0, (len(queries), options.ensemble))
        paths = [tuple(stage[i].annotation for stage in stages) for i in range(len(queries))]
        return [
            _Answer(stages[-1][i], latents[i, 0], paths[i] if options.trajectory else ()) for i in range(len(queries))
        ]

    def _merge(self, task: Task, clean: Tensor, images: Tensor, ensemble: int, method: str) -> list[Reading]:
        canvases = self.parts.backbone.latents.decode(clean)
        decoded = task.codec.decode(canvases, images.repeat_interleave(ensemble, 0))
        members = [decoded[i : i + ensemble] for i in range(0, len(clean), ensemble)]
        return [agree(group, method) if ensemble > 1 else Reading(group[0], None) for group in members]

    @torch.no_grad()
    def _read(self, images: Tensor, task: Task, texts: Sequence[str], mirror: bool) -> list[_Answer]:
        annotation, uncertainty = read(self.parts, images, task, texts, mirror)
        return [
            _Answer(Reading(annotation[i], None if uncertainty is None else uncertainty[i])) for i in range(len(images))
        ]


def task_of(entry: TaskEntry) -> Task:
    """The task as this model learnt it."""
    chosen = ({entry.name: choice} if choice else {} for choice in (entry.codec, entry.loss))
    (task,) = make_tasks([entry.name], entry.classes, *chosen)
    return replace(task, prompt=task.prompt if entry.prompt is None else entry.prompt)


def _finish(
    query: Query, task: str, answer: _Answer, size: tuple[int, int], settings: dict[str, str | int | float]
) -> Prediction:
    """Back to the CPU and to the size asked for."""
    annotation, uncertainty = answer.reading
    if uncertainty is not None:
        uncertainty = resize_image(uncertainty.float().cpu()[None], *size)[0]
    return Prediction(
        query,
        task,
        annotation.to("cpu").resize(*size),
        uncertainty,
        None if answer.latent is None else answer.latent.float().cpu(),
        tuple(stage.to("cpu").resize(*size) for stage in answer.trajectory),
        settings,
    )
