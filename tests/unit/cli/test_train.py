"""Flags that would do nothing are refused, and what there is to begin with is told."""

from pathlib import Path

import pytest

from denoisight.cli.improve import improve
from denoisight.cli.train import train
from denoisight.errors import RecipeError, UsageError
from denoisight.recipes import RECIPES
from denoisight.recipes.base import Recipe, SelfTeaching


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """What came through to be trained."""
    recipes: list[Recipe] = []
    monkeypatch.setattr("denoisight.recipes.main_job.train_and_report", lambda recipe, *_, **__: recipes.append(recipe))
    return recipes


@pytest.mark.parametrize(
    ("recipe", "own"), [("self-improve", {}), ("warm-up", {"weight": 0.5}), ("adapt", {"labels": "own"})]
)
def test_teaching_oneself_takes_pictures(trained: list[Recipe], recipe: str, own: dict) -> None:
    def call(**more: object) -> None:
        changes = {"self_teaching": SelfTeaching.model_validate({**own, **more})} if own or more else {}
        train("normals", recipe=recipe, changes=Recipe.model_validate({"data": "scenes:4", **changes}))

    with pytest.raises(RecipeError, match="no pictures to learn from .* --self-teaching.pictures"):
        call()
    assert not trained
    call(pictures="scenes:2")
    assert len(trained) == 1


def test_a_plain_training_takes_none(trained: list[Recipe]) -> None:
    train("normals", recipe="warm-up", changes=Recipe(data="scenes:4", self_teaching=SelfTeaching()))
    assert len(trained) == 1


def test_improve_learns_from_what_it_creates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("denoisight.recipes.improve.improve", lambda *_, **__: pytest.fail("it was begun"))
    asked = Recipe(data="scenes:4", self_teaching=SelfTeaching(pictures="scenes:2"))
    with pytest.raises(UsageError, match="train --recipe self-improve --self-teaching.pictures"):
        improve(task="normals", out=tmp_path, changes=asked)


def test_all_recipes_are_told() -> None:
    said = " ".join((train.__doc__ or "").split())
    assert all(f" {name} " in said or f" {name};" in said for name in RECIPES)
