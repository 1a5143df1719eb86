"""denoisight improve"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import RecipeError, UsageError
from ..recipes.base import Recipe, override
from ..recipes.improving import adapt_creation, self_improve, warm_up
from .flags import Quiet

log = logging.getLogger(__name__)


def improve(
    *,
    task: str,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    per_image: int = 2,
    noise_level: str = "0.6",
    noise: str = "gaussian",
    creation_steps: int = 25,
    eta: float = 0.0,
    captions: str = "text",
    guidance: float | None = None,
    avoid: list[str] | None = None,
    min_confidence: float = 0.0,
    rounds: int = 1,
    adapt_time: str = "",
    route: Literal["readout", "denoise"] = "readout",
    judge: str = "",
    overwrite: bool = False,
    quiet: Quiet = False,
    changes: Annotated[Recipe, Parameter(name="*", show_default=False)] = Recipe(),  # noqa: B008
) -> None:
    """Let a model create pictures like yours, label them, and learn from them: warm-up, creation, self-improvement.

    The same command goes on where it was stopped. The best averaged weights by validation lie in OUT/model, a page on
    how they came about in OUT/improve.html. --optim.ema is how much of itself the average keeps that answers for
    created pictures, while so many pictures are learnt from as --self-teaching.average-over says (default: a twentieth
    of the run's). What is not told of defaults here stands in the recipes of the two trainings, of 1500 steps each
    where no time is given: `denoisight config show TASK --recipe warm-up`, and with self-improve.

    Parameters
    ----------
    task
        What to learn, several with commas: depth, normals, semantic, instances, parts, saliency, boundary.
    out
        The folder of all stages (default: runs/improve-TASK).
    per_image
        Pictures created of each labelled one.
    noise_level
        How far each is noised, in (0, 1], or LOW:HIGH to draw it anew for each.
    noise
        gaussian, inversion or multires.
    creation_steps
        Denoising steps of a created picture.
    eta
        Fresh noise at each of these steps, 0 (none) to 1.
    captions
        What the pictures are said to show: text (the data's own), labels, none, or a .csv or .jsonl FILE.
    guidance
        How strongly the words steer what is created.
    avoid
        Words that created pictures are kept away from.
    min_confidence
        Pixels that the labels are less sure of are not learnt from.
    rounds
        How often pictures are created anew, by the model that is best by then, and learnt from.
    adapt_time
        First let the network learn, for so long, to create pictures like these, without any labels: 5m.
    route
        readout: heads on a network that stays as it is; denoise: all of the network learns to perceive, and goes on
        learning to create.
    judge
        A model that learnt elsewhere, to say in each round, and once more in the end, how far it agrees with the
        created labels.
    overwrite
        Replace what stands in --out.
    """
    said = changes.model_dump(exclude_unset=True)
    if not said.get("data"):
        raise RecipeError("No data to learn from; give a folder of labelled images with --data DIR, or scenes:100.")
    if mine := {"recipe", "tasks"} & said.keys():
        raise UsageError(f"--{mine.pop()} is set by the stages; leave it out, and name what to learn with --task.")
    teaching = said.get("self_teaching", {})
    if "pictures" in teaching:
        raise UsageError(
            "--self-teaching.pictures is set by the stages, which learn from what they create; leave it out, or learn "
            "from other pictures with: denoisight train --recipe self-improve --self-teaching.pictures DIR"
        )
    tasks, data = tuple(name.strip() for name in task.split(",")), str(said["data"])
    time_limit = changes.max_seconds
    own = _without("max_time", _without("self_teaching", said))
    # The average's rate is that of the improvement: in a warm-up nobody is taught by it.
    begin = override(warm_up(tasks, data, route), {**own, "optim": _without("ema", own.get("optim", {}))})
    # Labels of their own are masked or dropped when they are made, the average's masked when they are learnt from.
    made_once = teaching.get("labels") == "own"
    learning = {**own, "self_teaching": {**({} if made_once else {"confidence": min_confidence}), **teaching}}
    improving = override(self_improve(tasks, data, route), learning)

    from ..create.filters import Filters
    from ..create.variation import Variation
    from ..recipes.create import noise_levels
    from ..recipes.improve import Plan
    from ..recipes.improve import improve as run

    variation = Variation(
        per_image,
        noise_levels(noise_level),
        noise,
        creation_steps,
        guidance=guidance,
        avoid=tuple(avoid or ()),
        seed=begin.seed,
        eta=eta,
    )
    adapt = adapt_creation(begin, adapt_time) if adapt_time else None
    filters = Filters(min_confidence=min_confidence) if made_once else Filters(empty=True)
    plan = Plan(begin, improving, variation, adapt, rounds, captions, filters, time_limit, judge)
    folder = out or Path("runs") / f"improve-{'-'.join(tasks)}"
    done = run(plan, folder, overwrite=overwrite, quiet=quiet)
    for name, scores in done.scores.items():
        log.info("%s: %s", name, ", ".join(f"{key} {value:.4f}" for key, value in scores.items()))
    log.info("The best is %s, in %s. Next: denoisight predict PHOTOS --model %s -o out", done.best, done.model, folder)


def _without(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != name}
