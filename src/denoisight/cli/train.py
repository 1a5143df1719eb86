"""denoisight train"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import RecipeError, pick
from ..recipes import RECIPES
from ..recipes.base import Recipe, override, read_yaml
from .flags import Quiet


def compose(recipe: str, task: str, changes: Recipe, config: Path | None) -> Recipe:
    """Flags over --config over what the recipe says."""
    said = changes.model_dump(exclude_unset=True)
    written = read_yaml(config) if config else {}
    name = str(written.get("recipe", recipe)) if recipe == "adapt" else recipe
    tasks = tuple(task.split(",")) if task else ()
    made = pick(RECIPES, name, "recipe")(tasks, str(said.get("data", written.get("data", ""))))
    return override(override(made, written), said | ({"tasks": tasks} if task else {}))


def train(
    task: str = "",
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    recipe: str = "adapt",
    config: Path | None = None,
    resume: str | None = None,
    overwrite: bool = False,
    quiet: Quiet = False,
    no_progress: Annotated[bool, Parameter(negative="")] = False,
    no_report: Annotated[bool, Parameter(negative="")] = False,
    changes: Annotated[Recipe, Parameter(name="*", show_default=False)] = Recipe(),  # noqa: B008
) -> None:
    """Teach a model a task from a folder of labelled images.

    What is not told of defaults here depends on the recipe: `denoisight config show TASK` prints all of them.

    Parameters
    ----------
    task
        What to learn, several with commas: depth, normals, semantic, referring, instances, detection, parts, saliency,
        boundary.
    out
        The run's folder (default: runs/TASK).
    recipe
        What to begin with: adapt; generalist for tasks asked for in free words; embedded for one new network of all
        roles; embedded-create for one that only creates; warm-up for heads on a network that creates and stays as it
        is; self-improve to go on from a warm-up beside --self-teaching.pictures.
    config
        A YAML file of changes to the recipe, as `denoisight config show` prints it.
    resume
        Go on with the run in --out: "latest", or a checkpoint's folder.
    overwrite
        Replace the run in --out.
    no_progress
        Show no progress, as --quiet.
    no_report
        Leave out judging the best model on the held-out images and the report.
    """
    composed = compose(recipe, task, changes, config)
    if not composed.tasks and not composed.teaching.create:
        raise RecipeError("No task to train; write one, as in: denoisight train depth --data DIR")
    _check_pictures(composed)
    from ..recipes.main_job import train_and_report

    train_and_report(
        composed,
        out or Path("runs") / ("-".join(composed.tasks) or composed.recipe),
        resume=resume,
        overwrite=overwrite,
        quiet=quiet or no_progress,
        report=not no_report,
    )


def _check_pictures(recipe: Recipe) -> None:
    """Raises `RecipeError` where a model shall teach itself without pictures: that would be a plain training."""
    own = recipe.self_teaching
    if own.pictures or (own == Recipe().self_teaching and recipe.recipe != "self-improve"):
        return
    raise RecipeError(
        "There are no pictures to learn from beside the data; give a folder, shards or scenes:N with "
        "--self-teaching.pictures. Without them, take --recipe warm-up or adapt and no --self-teaching flags."
    )
