"""What a user holds: a model that can be asked."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..annotations import Annotation, Query, resize_image
from ..data.images import picture_tensor, read_image
from ..diffusion.samplers import Step
from ..errors import UsageError, WeightsError
from ..models.embedded import embedded_folder
from ..models.folder import Parts, TaskEntry, open_folder, read_config, save
from ..runtime import DTYPES, item_seed, pick_device
from ..tasks import Reading, Task, make_tasks
from .denoise import denoise
from .ensemble import agree
from .prediction import Prediction
from .readout import read

Route = Literal["denoise", "readout"]
ImageLike = Query | Tensor | np.ndarray | Image.Image | str | Path


class Model:
    """A backbone with the tasks it was trained for, by one route or both.

    `denoises` and `reads` map task names to tasks; `predict` asks one of them.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.denoises = {entry.name: _task(entry) for entry in parts.config.denoises}
        self.reads = {entry.name: _task(entry) for entry in parts.config.reads}

    @property
    def name(self) -> str:
        return self.parts.config.name

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.denoises | self.reads)

    def to(self, device: str | torch.device = "auto", dtype: str = "fp32") -> Model:
        """Move to a device and precision ("fp32", "bf16", "fp16"), in place."""
        place = pick_device(str(device))
        for module in self.parts.modules().values():
            module.to(place)
            if dtype != "fp32":
                module.to(DTYPES[dtype])
        return self

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over all weights in a fixed order: two models with one hash give the same answers."""
        digest = hashlib.sha256()
        for name, weights in sorted(self.parts.modules().state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def task(self, name: str, route: Route | None = None) -> tuple[Task, Route]:
        """A task and the route it will take. Raises `UsageError` where the model never learnt it."""
        for way, known in (("denoise", self.denoises), ("readout", self.reads)):
            if name in known and route in (None, way):
                return known[name], way  # type: ignore[return-value]
        learnt = [f"{n} (denoise)" for n in self.denoises] + [f"{n} (readout)" for n in self.reads]
        asked = f"{name!r} by {route}" if route else repr(name)
        raise UsageError(
            f"Model {self.name!r} cannot predict {asked}; it learnt {', '.join(learnt) or 'nothing'}. "
            f"Teach it with: denoisight train {name} --data DIR --model {self.name}"
        )

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        task: str,
        *,
        steps: int | None = None,
        ensemble: int = 1,
        res: int | None = None,
        route: Route | None = None,
        prompt: str = "",
        seed: int = 0,
        batch: int = 8,
        sampler: str = "ddim",
        match_input_resolution: bool = True,
        trajectory: bool = False,
    ) -> Any:
        """One `Prediction` for one image, a list for a list.

        images: paths, PIL images, [h w 3] uint8 arrays, [3 h w] tensors in [0, 1], or Queries; sizes may differ.
        steps: denoising steps (default: the model's own). ensemble: members that are merged, with uncertainty.
        res: longest side in pixels at which the network works, 0 for the image's own (default: the model's).
        seed: with the image's key it fixes the noise, whatever the batch and order.
        """
        alone = isinstance(images, ImageLike)
        queries = [as_query(images, 0)] if alone else [as_query(image, i) for i, image in enumerate(images)]  # type: ignore[arg-type]
        if prompt:
            queries = [replace(query, text=prompt) for query in queries]
        predictions = list(
            self.stream(
                queries,
                task,
                steps=steps,
                ensemble=ensemble,
                res=res,
                route=route,
                seed=seed,
                batch=batch,
                sampler=sampler,
                match_input_resolution=match_input_resolution,
                trajectory=trajectory,
            )
        )
        return predictions[0] if alone else predictions

    @torch.inference_mode()
    def stream(
        self,
        queries: Sequence[Query],
        task: str,
        *,
        steps: int | None = None,
        ensemble: int = 1,
        res: int | None = None,
        route: Route | None = None,
        seed: int = 0,
        batch: int = 8,
        sampler: str = "ddim",
        match_input_resolution: bool = True,
        trajectory: bool = False,
    ) -> Iterator[Prediction]:
        """Predictions in the order of the queries; images that are worked on at one size share batches."""
        if ensemble < 1 or batch < 1:
            raise UsageError(f"Ensemble ({ensemble}) and batch ({batch}) must be at least 1.")
        chosen, way = self.task(task, route)
        steps = steps or self.parts.config.steps
        longest = self.parts.config.resolution if res is None else res
        settings = {"route": way, "steps": steps if way == "denoise" else 1, "ensemble": ensemble, "seed": seed, "res": longest}
        done: dict[int, Prediction] = {}
        for indices in self._groups(queries, longest, batch):
            group = [queries[i] for i in indices]
            if way == "denoise":
                results = self._denoise(group, chosen, steps, ensemble, longest, seed, sampler, trajectory)
            else:
                results = self._read(group, chosen, longest)
            for i, query, (reading, latent, path) in zip(indices, group, results, strict=True):
                size = query.size if match_input_resolution else reading.annotation.size
                done[i] = _finish(query, task, reading, latent, path, size, settings)
        yield from (done[i] for i in range(len(queries)))

    def save_pretrained(
        self,
        folder: Path | str,
        card: str = "",
        dtype: str = "fp32",
        provenance: dict[str, str | int | float] | None = None,
    ) -> None:
        """Write a folder that `load` opens; `provenance` is added to what the model already tells of its making."""
        config = self.parts.config
        told = config.model_copy(update={"provenance": {**config.provenance, **(provenance or {})}})
        save(replace(self.parts, config=told), folder, card, DTYPES[dtype])

    def _groups(self, queries: Sequence[Query], longest: int, batch: int) -> Iterator[tuple[int, ...]]:
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, query in enumerate(queries):
            by_size[self.parts.backbone.fitting_size(*query.size, longest)].append(i)
        for indices in by_size.values():
            yield from (tuple(indices[i : i + batch]) for i in range(0, len(indices), batch))

    def _images(self, queries: Sequence[Query], longest: int) -> Tensor:
        backbone = self.parts.backbone
        images = torch.stack([backbone.fit(query.image, longest) for query in queries])
        return images.to(backbone.device, next(backbone.parameters()).dtype)

    def _denoise(
        self,
        queries: Sequence[Query],
        task: Task,
        steps: int,
        ensemble: int,
        longest: int,
        seed: int,
        sampler: str,
        trajectory: bool,
    ) -> list[tuple[Reading, Tensor | None, tuple[Annotation, ...]]]:
        images = self._images(queries, longest)
        prompts = [task.instruct(query.text) for query in queries]
        seeds = [[item_seed(seed, query.key, member) for member in range(ensemble)] for query in queries]
        walk = denoise(self.parts.backbone, images, prompts, seeds, steps=steps, sampler=sampler)
        kept: list[Step] = []
        for step in walk:
            kept = [*kept, step] if trajectory else [step]
        stages = [self._merge(task, step.clean, images, ensemble) for step in kept]
        latents = kept[-1].x.unflatten(0, (len(queries), ensemble))
        return [
            (stages[-1][i], latents[i, 0], tuple(stage[i].annotation for stage in stages) if trajectory else ())
            for i in range(len(queries))
        ]

    def _merge(self, task: Task, clean: Tensor, images: Tensor, ensemble: int) -> list[Reading]:
        canvases = self.parts.backbone.latents.decode(clean)
        decoded = task.codec.decode(canvases, images.repeat_interleave(ensemble, 0))
        members = [decoded[i : i + ensemble] for i in range(0, len(clean), ensemble)]
        return [agree(group) if ensemble > 1 else Reading(group[0], None) for group in members]

    def _read(
        self, queries: Sequence[Query], task: Task, longest: int
    ) -> list[tuple[Reading, Tensor | None, tuple[Annotation, ...]]]:
        annotation, uncertainty = read(self.parts, self._images(queries, longest), task)
        return [
            (Reading(annotation[i], None if uncertainty is None else uncertainty[i]), None, ())
            for i in range(len(queries))
        ]


def load(name: str | Path, device: str = "auto", dtype: str = "fp32") -> Model:
    """Open "embedded" or a folder that denoisight saved: a model folder, or a run folder that holds one.

    Raises `WeightsError` (exit 5) where there is none, saying what was looked for.
    """
    folder = embedded_folder() if str(name) == "embedded" else Path(name).expanduser()
    if (folder / "model" / "model.json").exists():
        folder = folder / "model"
    if not (folder / "model.json").exists():
        raise WeightsError(
            f"No model at {str(name)!r}: expected 'embedded', a folder with model.json, or a run folder with model/."
        )
    reads = {entry.name: _task(entry).head.channels for entry in read_config(folder).reads}
    return Model(open_folder(folder, reads)).to(device, dtype)


def as_query(image: ImageLike, index: int = 0) -> Query:
    """A query from whatever a user may hold; its key is the file's stem, else its place in the list."""
    if isinstance(image, Query):
        return image if image.key else replace(image, key=f"{index:06d}")
    if isinstance(image, str | Path):
        return Query(read_image(Path(image)), key=Path(image).stem)
    if isinstance(image, Tensor):
        return Query(image.float(), key=f"{index:06d}")
    return Query(picture_tensor(image if isinstance(image, Image.Image) else Image.fromarray(image)), key=f"{index:06d}")


def _task(entry: TaskEntry) -> Task:
    return make_tasks([entry.name], entry.classes)[0]


def _finish(
    query: Query,
    task: str,
    reading: Reading,
    latent: Tensor | None,
    path: tuple[Annotation, ...],
    size: tuple[int, int],
    settings: dict[str, str | int | float],
) -> Prediction:
    """Back to the CPU and to the size asked for."""
    def fit(annotation: Annotation) -> Annotation:
        return annotation.to("cpu").resize(*size)

    uncertainty = reading.uncertainty
    if uncertainty is not None:
        uncertainty = resize_image(uncertainty.float().cpu()[None], *size)[0]
    return Prediction(
        query,
        task,
        fit(reading.annotation),
        uncertainty,
        None if latent is None else latent.float().cpu(),
        tuple(fit(annotation) for annotation in path),
        settings,
    )
