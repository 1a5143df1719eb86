"""How good the clean estimate is after every step of a walk: a tally for each seed and step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Query, base_of
from ..data.readers import Reader
from ..diffusion.schedule import timesteps
from ..metrics.tally import Tally, percentiles
from ..predict.model import Model
from ..predict.options import Options
from ..predict.prediction import Prediction
from .protocols import Protocol
from .results import Score
from .run import Progress, enter, scores_of

Stream = Callable[[Sequence[Query], str, Options], Iterable[Prediction]]
"""As `Model.stream`."""


@dataclass(frozen=True, eq=False)
class StepScores:
    """Counts of the clean estimates of one walk over descending `timesteps`: `tallies[seed][step]`, of the same images.

    Scores are made as the protocol quotes them: means over images, or from counts pooled over them.
    """

    protocol: Protocol
    timesteps: tuple[int, ...]
    tallies: tuple[tuple[Tally, ...], ...]

    def means(self, metric: str) -> Float[np.ndarray, "seeds steps"]:
        """The score of all images; NaN where no image has one."""
        return np.array([[tally.scores(self.protocol.pooling)[metric] for tally in row] for row in self.tallies])

    def per_image(self, metric: str) -> Float[np.ndarray, "seeds images steps"]:
        """Each image's own score, images in the order of their sorted keys."""
        rows = [torch.stack([tally.per_image()[metric] for tally in row], dim=-1) for row in self.tallies]
        return torch.stack(rows).numpy()

    def replicates(self, metric: str, step: int) -> Float[Tensor, " resamples"]:
        """The mean over seeds after one step (the first is 0), with images and seeds drawn anew: a bootstrap over both.

        Everything of the same images and number of seeds draws alike, so that differences are paired.
        """
        scores = torch.stack([row[step].resampled(self.protocol.pooling)[metric] for row in self.tallies])
        drawn = torch.randint(len(scores), scores.shape[::-1], generator=torch.Generator().manual_seed(0))
        return scores.T.gather(1, drawn).mean(1)

    def score(self, metric: str, step: int) -> Score:
        """The mean over seeds after one step, with its 95 % interval over images and seeds."""
        return Score.of(float(self.means(metric)[:, step].mean()), *percentiles(self.replicates(metric, step)))


def blank(protocol: Protocol, keys: Sequence[str], grid: Sequence[int], seeds: int) -> StepScores:
    """Nothing counted yet."""
    tallies = tuple(tuple(Tally(keys, scores_of(protocol), base_of) for _ in grid) for _ in range(seeds))
    return StepScores(protocol, tuple(grid), tallies)


def grid_of(model: Model, steps: int) -> list[int]:
    """The timesteps at which the model is asked on a walk of so many steps."""
    return timesteps(model.parts.backbone.schedule, steps, model.parts.config.spacing)


def score_steps(
    model: Model,
    protocol: Protocol,
    reader: Reader,
    *,
    steps: int,
    seeds: Sequence[int] = (0,),
    options: Options = Options(),  # noqa: B008
    progress: Progress = iter,
    stream: Stream | None = None,
) -> StepScores:
    """Score the trajectory of one whole walk of `steps` steps by the protocol, on all of the reader's images.

    `stream` stands for the model's own, where it is asked in other words. `options` say the rest (resolution, sampler,
    batch); a stopping point and an ensemble have no place here. Raises `UsageError` where the model does not denoise
    the protocol's task.
    """
    asked = replace(options, steps=steps, stop_at=0.0, route="denoise", trajectory=True, ensemble=1)
    scores = blank(protocol, reader.keys, grid_of(model, steps), len(seeds))
    for chunk in progress([range(i, min(i + asked.batch, len(reader))) for i in range(0, len(reader), asked.batch)]):
        samples = [reader[i] for i in chunk]
        queries = [sample.asked(protocol.truth) for sample in samples]
        for seed, row in zip(seeds, scores.tallies, strict=True):
            answers = (stream or model.stream)(queries, protocol.task, replace(asked, seed=seed))
            for sample, prediction in zip(samples, answers, strict=True):
                for tally, stage in zip(row, prediction.trajectory, strict=True):
                    enter(tally, stage, sample, protocol)
    return scores
