from pathlib import Path

import pytest
import yaml

from denoisight.errors import RecipeError
from denoisight.models.embedded import Network, embedded_folder
from denoisight.models.folder import read_config
from denoisight.recipes import RECIPES
from denoisight.recipes.base import Recipe, override


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_its_own_yaml(name: str) -> None:
    recipe = RECIPES[name](("depth",), "scenes:4")
    assert recipe.recipe == name
    assert override(Recipe(), yaml.safe_load(recipe.to_yaml())) == recipe
    assert f"denoisight train {'TASK' if name == 'adapt' else f'--recipe {name}'}" in (RECIPES[name].__doc__ or "")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"stepz": 3}, "stepz"),
        ({"steps": 0}, "steps"),
        ({"optim": {"lr": -1}}, "optim.lr"),
        ({"optim": {"lrr": 1}}, "optim.lrr"),
        ({"augment": {"flip": 2}}, "augment.flip"),
        ({"max_time": "later"}, "max_time"),
    ],
)
def test_bad_values_are_refused_by_name(changes: dict, key: str) -> None:
    with pytest.raises(RecipeError, match=key):
        override(Recipe(), changes)


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("30", 30)])
def test_times(text: str, seconds: float | None) -> None:
    assert Recipe(max_time=text).max_seconds == seconds


def test_a_change_deep_inside_keeps_its_neighbours() -> None:
    changed = override(Recipe(), {"optim": {"lr": 1e-5}})
    assert changed.optim.lr == 1e-5
    assert changed.optim.ema == Recipe().optim.ema


def test_the_shipped_models_own_recipe_is_kept() -> None:
    """`--recipe embedded` has moved on; the file tells how the weights in the package were made."""
    written = yaml.safe_load((Path(__file__).parents[3] / "studies" / "embedded" / "first.yaml").read_text())
    recipe = override(RECIPES["embedded"](), written)
    assert recipe.tasks == ("depth", "normals", "semantic") and recipe.teaching == Recipe().teaching
    assert Network.model_validate(recipe.network) == read_config(embedded_folder()).network
