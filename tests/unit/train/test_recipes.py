from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from denoisight.data.open import open_data
from denoisight.diffusion.timesteps import LAWS
from denoisight.errors import RecipeError
from denoisight.models.embedded import Network, embedded_folder
from denoisight.models.folder import read_config
from denoisight.models.text import MARKS, Words
from denoisight.recipes import RECIPES
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.generalist import generalist
from denoisight.recipes.start import starting_parts
from denoisight.tasks.instruct import INSTRUCT, TEMPLATES
from denoisight.train.gt_augment import KINDS


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_its_own_yaml(name: str) -> None:
    recipe = RECIPES[name](("depth",), "scenes:4")
    assert recipe.recipe == name
    assert override(Recipe(), yaml.safe_load(recipe.to_yaml())) == recipe
    assert f"denoisight train {'TASK' if name == 'adapt' else f'--recipe {name}'}" in (RECIPES[name].__doc__ or "")


def fields(part: type[BaseModel], name: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Settings that have a value, by their names on the command line."""
    for key, field in part.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{name}{key}.")
        else:
            yield name + key, field


def test_every_setting_says_what_it_is() -> None:
    told = {name: field.description or "" for name, field in fields(Recipe)}
    assert "optim.lr" in told and [name for name, text in told.items() if not text] == []
    for name, known in (("noise.timesteps", LAWS), ("gt_augment.kinds", KINDS)):
        assert [each for each in known if each not in told[name]] == []


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


@pytest.mark.parametrize("name", ["embedded", "embedded-create"])
def test_the_shipped_models_are_made_by_their_recipes(name: str) -> None:
    recipe, told = RECIPES[name](), read_config(embedded_folder(name))
    assert tuple(entry.name for entry in told.denoises if entry.name != INSTRUCT) == recipe.tasks
    assert {e.name: e.codec for e in told.denoises if e.codec} == recipe.codecs
    assert told.network == Network.model_validate(RECIPES["embedded-create"]().network)
    assert told.schedule == RECIPES["embedded-create"]().noise.schedule and told.creates
    assert told.provenance["max_time"] == recipe.max_time
    assert f"denoisight train --recipe {name}" in str(told.provenance["command"])


@pytest.mark.parametrize("model", ["new", "embedded"])
def test_the_generalist_begins_with_all_words_and_tasks_asked_for_in_the_first_template(model: str) -> None:
    recipe = generalist(data="scenes:2").model_copy(update={"model": model})
    parts = starting_parts(recipe, open_data("scenes:2", "train", ()))
    assert (
        parts.backbone.text.unknown(" ".join(t for each in TEMPLATES.values() for t in each).replace("{text}", ""))
        == []
    )
    *tasks, follows = parts.config.denoises
    assert {entry.name: entry.prompt for entry in tasks} == {name: TEMPLATES[name][0] for name in recipe.tasks}
    assert {e.name: e.codec for e in tasks if e.codec == "paint"} == recipe.codecs and follows.name == INSTRUCT
    assert parts.config.network.words == len(Words()) - len(MARKS) or model != "new"


def test_codecs_of_the_generalist_are_of_its_tasks() -> None:
    assert generalist(("depth", "referring")).codecs == {"referring": "paint"}
