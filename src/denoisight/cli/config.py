"""denoisight config"""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..recipes.base import Recipe
from .train import compose


def show(
    task: str = "",
    *,
    recipe: str = "adapt",
    config: Path | None = None,
    changes: Annotated[Recipe, Parameter(name="*", show_default=False)] = Recipe(),  # noqa: B008
) -> None:
    """Print a recipe as YAML with --config and flags applied, as `denoisight train` would run it with these words.

    Parameters
    ----------
    task
        What to learn, several with commas.
    recipe
        What to begin with; see `denoisight train`.
    config
        A YAML file of changes to the recipe.
    """
    print(compose(recipe, task, changes, config).to_yaml(), end="")


def schema() -> None:
    """Print the JSON schema of recipes, for editors that check --config files."""
    print(json.dumps(Recipe.model_json_schema(), indent=2))
