"""Truths corrupted in training as denoising will corrupt them (Pang et al., ICLR 2025, section on augmentation).

In training noise is added to the clean truth; in denoising to the network's own imperfect estimate. Here the truth is
corrupted before the noise is added, strongly where there is much noise, while the network goes on aiming at the clean
truth (`prediction.output_from`). The image is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import IGNORE, Annotation, Boxes, Depth, Labels, Mask, Normals
from ..diffusion.schedule import Level
from ..errors import RecipeError, pick
from ..runtime import generator
from ..tasks import Task

ESTIMATE, EXACT = "on-policy", "on-policy-exact"
ON_POLICY = {ESTIMATE, EXACT}
"""The network's own estimate from a noisier level in the place of the truth; and one whole step of the sampler."""

BLUR = 1 / 16
DRIFT = 0.5
TINT = 0.5
GROWTH = 1 / 16
WARP = 1 / 16
SHIFT = 1 / 4
"""The most that each kind does at strength 1: lengths in shares of the longer side, drift and tint of the canvas."""

FINE, COARSE = 8, 4
"""Random fields have so many values a side."""

DRAWS = 4 * FINE**2
"""Uniform numbers that a kind may use for an item."""


@dataclass(frozen=True)
class GtAugment:
    """How truths are corrupted.

    kinds: names of `KINDS`, or "all" for those that fit the task. strength: the most, in (0, 1]. schedule: how it hangs
    on the noise level, a name of `STRENGTHS`. target: "revised" aims at the clean truth; "naive" takes the corrupted
    one for the truth, an arm for studies. perturb: gamma of input perturbation, noise on the noise that the target does
    not tell of (Ning et al., ICML 2023), another.

    Raises `RecipeError` for an unknown name, a value out of range, and kinds and targets that exclude each other.
    """

    kinds: tuple[str, ...] = ()
    strength: float = 1.0
    schedule: str = "lambda"
    target: Literal["revised", "naive"] = "revised"
    perturb: float = 0.0

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in (*KINDS, "all"):
                raise RecipeError(f"Unknown gt-augment kind {kind!r}; known: all, {', '.join(KINDS)}.")
        if set(self.kinds) >= ON_POLICY:
            raise RecipeError(f"{ESTIMATE} and {EXACT} exclude each other; choose one.")
        if self.target == "naive" and (self.perturb or EXACT in self.kinds):
            raise RecipeError(f"The naive target knows neither {EXACT} nor perturb; leave them out, or take revised.")
        if not 0 < self.strength <= 1:
            raise RecipeError(f"gt-augment strength is {self.strength}; give one above 0 and at most 1.")
        if not 0 <= self.perturb <= 1:
            raise RecipeError(f"gt-augment perturb is {self.perturb}; give a share of the noise from 0 to 1.")
        pick(STRENGTHS, self.schedule, "gt-augment schedule")

    @property
    def on_policy(self) -> bool:
        return bool(ON_POLICY & set(self.kinds))

    def of(self, task: Task) -> tuple[str, ...]:
        """The kinds of this that act on a task's truths or canvases, in the order of `KINDS`."""
        asked = {*self.kinds, *(ALL[task.kind] if "all" in self.kinds else ())}
        return tuple(kind for kind, fits in KINDS.items() if kind in asked and task.kind in fits)

    def truths_beside(self, tasks: Sequence[Task]) -> tuple[str, ...]:
        """Truths that the corruptions of these tasks look at beside the tasks' own, where they are known."""
        wanted = any("confuse" in self.of(task) for task in tasks) and all(t.truth != "instances" for t in tasks)
        return ("instances",) if wanted else ()

    def check(self, tasks: Sequence[Task]) -> None:
        """Raises `RecipeError` for a kind that fits none of the tasks."""
        for kind in self.kinds:
            if kind != "all" and not any(task.kind in KINDS[kind] for task in tasks):
                fitting = sorted(fits.__name__ for fits in KINDS[kind])
                raise RecipeError(
                    f"gt-augment {kind!r} is for {', '.join(fitting)}, which none of these tasks has: "
                    f"{', '.join(task.name for task in tasks)}."
                )

    def strengths(self, level: Level, num_timesteps: int) -> Float[Tensor, " b"]:
        """How strongly each item is corrupted at its noise level, in [0, strength]."""
        return self.strength * STRENGTHS[self.schedule](level, num_timesteps)


STRENGTHS: dict[str, Callable[[Level, int], Tensor]] = {
    # Bounds the revised target of noise predictions: the gain on the corruption is alpha / sigma.
    "lambda": lambda level, num_timesteps: (level.sigma / level.alpha).clamp(max=1),
    "time": lambda level, num_timesteps: (level.t + 1) / num_timesteps,
    "constant": lambda level, num_timesteps: torch.ones_like(level.t),
}


def corrupt(
    task: Task,
    truths: Mapping[str, Annotation],
    images: Float[Tensor, "b 3 h w"],
    strength: Float[Tensor, " b"],
    gt: GtAugment,
    seeds: Sequence[tuple[int, str, int]],
) -> Float[Tensor, "b 3 h w"]:
    """A task's canvas of corrupted truths, by all kinds of `gt` but the on-policy ones.

    `truths` are those of the batch: where they hold "instances", a mask is confused with another thing of its own
    picture, else with the mask of another picture. `strength` is in [0, 1]; `seeds` are (run seed, key, step) of
    each item, so that its corruption depends on nothing else.
    """
    truth, kinds = truths[task.truth], gt.of(task)
    draws = {kind: _draws(kind, seeds).to(images) for kind in kinds if kind in ON_TRUTH or kind in ON_CANVAS}
    for kind, drawn in draws.items():
        if kind in ON_TRUTH:
            truth = ON_TRUTH[kind](truth, strength, drawn, truths)
    pixels = task.codec.encode(truth, images).pixels
    for kind, drawn in draws.items():
        if kind in ON_CANVAS:
            pixels = ON_CANVAS[kind](pixels, strength, drawn)
    return pixels


def blur(pixels: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
    """Gaussian blur, its width random up to `BLUR` of the longer side."""
    return _blurred(pixels, strength * draws[:, 0] * BLUR * max(pixels.shape[-2:]))


def drift(pixels: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
    """Contrast and level that vary slowly over the picture; grey canvases stay grey."""
    scale, *shifts = _fields(draws, 4, COARSE, pixels).unbind(1)
    shift = torch.stack(shifts, 1)
    grey = (pixels == pixels[:, :1]).flatten(1).all(1)[:, None, None, None]
    amount = DRIFT * strength[:, None, None, None]
    return pixels * (1 + amount * scale[:, None]) + amount * torch.where(grey, shift[:, :1], shift)


def colour(pixels: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
    """Drawn towards one random colour."""
    tint = (2 * draws[:, :3] - 1)[:, :, None, None]
    amount = (TINT * strength * draws[:, 3])[:, None, None, None]
    return pixels + amount * (tint - pixels)


def shape(truth: Mask, strength: Tensor, draws: Tensor, truths: Mapping[str, Annotation]) -> Mask:
    """Grown or shrunk, rounded, and warped."""
    inside, side = truth.probability[:, None], max(truth.size)
    # Of a blurred mask a low level is a larger mask and a high level a smaller one.
    wide = strength * draws[:, -1] * GROWTH * side
    cut = 0.5 + 0.35 * (2 * draws[:, -2] - 1) * (wide > 0.3)
    grown = (_blurred(inside, wide) > cut[:, None, None, None]).float()
    return replace(truth, probability=_moved(grown, WARP * side * strength, _fields(draws, 2, FINE, inside))[:, 0])


def shift(truth: Mask, strength: Tensor, draws: Tensor, truths: Mapping[str, Annotation]) -> Mask:
    """Moved as a whole; what leaves the picture is gone."""
    towards = (2 * draws[:, :2] - 1)[:, :, None, None].expand(-1, -1, *truth.size)
    return replace(
        truth, probability=_moved(truth.probability[:, None], SHIFT * max(truth.size) * strength, towards)[:, 0]
    )


def confuse(truth: Mask, strength: Tensor, draws: Tensor, truths: Mapping[str, Annotation]) -> Mask:
    """Blended with a wrong thing: another one of the picture, or of another picture where instances are not known."""
    rival = truth.probability.roll(1, 0)
    if "instances" in truths:
        ids = truths["instances"].ids  # type: ignore[attr-defined]
        others = (ids > 0) & (ids != IGNORE) & (truth.probability < 0.5)
        rival = (ids == _value_of_one(ids, others, draws[:, 0])) & others
    share = (strength * draws[:, 1])[:, None, None]
    return replace(truth, probability=truth.probability + share * (rival.to(truth.probability) - truth.probability))


def swap(truth: Labels, strength: Tensor, draws: Tensor, truths: Mapping[str, Annotation]) -> Labels:
    """In a random region one label of the picture becomes another, and that one the first."""
    field = _fields(draws, 1, COARSE, truth.ids.float()[:, None])[:, 0]
    region = field < (strength * draws[:, -1])[:, None, None] * 2 - 1
    known = truth.valid
    one = _value_of_one(truth.ids, known, draws[:, -2])
    other = _value_of_one(truth.ids, known & (truth.ids != one), draws[:, -3])
    other = torch.where(other < 0, one, other)  # nothing else is there
    swapped = torch.where(truth.ids == one, other, torch.where(truth.ids == other, one, truth.ids))
    return replace(truth, ids=torch.where(region & known, swapped, truth.ids))


def jitter(truth: Labels, strength: Tensor, draws: Tensor, truths: Mapping[str, Annotation]) -> Labels:
    """Boundaries displaced by a random field."""
    ids = truth.ids[:, None].float()
    moved = _moved(ids, WARP * max(truth.size) * strength, _fields(draws, 2, FINE, ids), "border")
    return replace(truth, ids=moved[:, 0].round().long())


ON_TRUTH: dict[str, Callable[..., Annotation]] = {
    "shape": shape,
    "shift": shift,
    "confuse": confuse,
    "swap": swap,
    "jitter": jitter,
}
ON_CANVAS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"blur": blur, "drift": drift, "colour": colour}

ANY: tuple[type[Annotation], ...] = (Depth, Normals, Labels, Mask, Boxes)
KINDS: dict[str, tuple[type[Annotation], ...]] = {
    "shape": (Mask,),
    "shift": (Mask,),
    "confuse": (Mask,),
    "swap": (Labels,),
    "jitter": (Labels,),
    "blur": ANY,
    "drift": ANY,
    "colour": ANY,
    ESTIMATE: ANY,
    EXACT: ANY,
}
"""What truths each kind is for."""

ALL: dict[type[Annotation], tuple[str, ...]] = {
    Depth: ("blur", "drift"),
    Normals: ("blur", "drift"),
    Mask: ("shape", "shift", "confuse", "colour"),
    Labels: ("swap", "jitter"),
    Boxes: ("blur", "drift"),
}
"""What "all" stands for; the on-policy kinds cost a pass and must be asked for."""


def _draws(kind: str, seeds: Sequence[tuple[int, str, int]]) -> Float[Tensor, "b n"]:
    """Uniform numbers in [0, 1) that belong to each item."""
    return torch.stack(
        [torch.rand(DRAWS, generator=generator(seed, f"{kind} {key}", step)) for seed, key, step in seeds]
    )


def _fields(draws: Tensor, count: int, side: int, like: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
    """Smooth random fields in [-1, 1]."""
    knots = 2 * draws[:, : count * side**2].view(-1, count, side, side) - 1
    return F.interpolate(knots, like.shape[-2:], mode="bilinear", align_corners=True)


def _blurred(pixels: Float[Tensor, "b c h w"], widths: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Gaussian blur with a standard deviation in pixels for each item, edges repeated; 0 leaves an item as it is."""
    b, c, h, w = pixels.shape
    reach = ceil(2.5 * BLUR * max(h, w))
    offsets = torch.arange(-reach, reach + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = (-(offsets**2) / (2 * widths.clamp(min=1e-3)[:, None] ** 2)).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    padded = F.pad(pixels, (reach,) * 4, mode="replicate").reshape(1, b * c, h + 2 * reach, w + 2 * reach)
    down = F.conv2d(padded, kernel[:, None, :, None], groups=b * c)
    return F.conv2d(down, kernel[:, None, None, :], groups=b * c).view(b, c, h, w)


def _moved(
    pixels: Float[Tensor, "b 1 h w"], most: Float[Tensor, " b"], field: Float[Tensor, "b 2 h w"], outside: str = "zeros"
) -> Float[Tensor, "b 1 h w"]:
    """Each pixel taken from up to `most` pixels away, along a field in [-1, 1] (right, down); nearest neighbour."""
    b, _, h, w = pixels.shape
    there = F.affine_grid(torch.eye(2, 3, device=pixels.device).expand(b, 2, 3), [b, 1, h, w], align_corners=False)
    away = field.movedim(1, -1) * most[:, None, None, None] * 2 / field.new_tensor([w, h])
    return F.grid_sample(pixels, there + away, mode="nearest", padding_mode=outside, align_corners=False)


def _value_of_one(ids: Tensor, among: Tensor, draw: Float[Tensor, " b"]) -> Tensor:
    """[b 1 1]: of each item the value at one of the pixels `among`, by a number in [0, 1); -1 where there is none."""
    counted = among.flatten(1).long().cumsum(1)
    total = counted[:, -1:]
    place = (counted > (draw[:, None] * total).long()).float().argmax(1, keepdim=True)
    return torch.where(total > 0, ids.flatten(1).gather(1, place), -1)[..., None]
