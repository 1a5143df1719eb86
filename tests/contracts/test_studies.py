"""What the studies' READMEs say is what their committed results give."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINED = sorted(path.parent.name for path in (ROOT / "studies").glob("addp_*/results.jsonl"))


@pytest.mark.parametrize("name", TRAINED)
def test_the_readme_is_written_from_the_results(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    module = importlib.import_module(f"studies.{name}.__main__")
    tables = importlib.import_module("studies.tables")
    (tmp_path / "results.jsonl").write_bytes((ROOT / "studies" / name / "results.jsonl").read_bytes())
    tables.write(replace(module.STUDY, folder=tmp_path), module.ABOUT)
    assert (tmp_path / "README.md").read_text() == (ROOT / "studies" / name / "README.md").read_text()


def test_the_guidance_study_is_written_from_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    folder = ROOT / "studies" / "addp_guidance"
    if not (folder / "results.json").exists():
        pytest.skip("no results of this study are committed")
    module = importlib.import_module("studies.addp_guidance.__main__")
    module.write(json.loads((folder / "results.json").read_text()), tmp_path)
    assert (tmp_path / "README.md").read_text() == (folder / "README.md").read_text()


ALIGNED = (
    *("addp_depth", "addp_normals", "addp_refer", "addp_generalist", "addp_depth_kitchen"),
    *("addp_adapt_kitchen", "addp_adapt_camvid"),
)


@pytest.mark.parametrize("name", ALIGNED)
def test_arms_differ_have_equal_budgets_and_recipes_that_stand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every arm's changes make a valid recipe, and as many units of network evaluations, to a step."""
    from denoisight.recipes.base import Recipe, override

    monkeypatch.syspath_prepend(str(ROOT))
    study = importlib.import_module(f"studies.{name}.__main__").STUDY
    names = [arm.name for arm in study.arms]
    assert len(set(names)) == len(names) and set(study.baselines) | set(study.curves) <= set(names)
    for arm in study.arms:
        recipe = override(Recipe.model_validate({**study.recipe, "data": "scenes:8"}), dict(arm.changes))
        on_policy = any(kind.startswith("on-policy") for kind in recipe.gt_augment.kinds)
        assert arm.units == (4 if on_policy else 3)
        assert 0 <= study.units - arm.units * (study.units // arm.units) < arm.units
    assert len(study.seeds) >= 3


TAUGHT = (
    *("self_improve", "self_improve_camvid", "self_improve_kitchen", "self_improve_bsds", "creation_level"),
    *("creation_noise", "creation_count", "ema_rate", "filters", "backbone", "routes", "multi_task"),
)


@pytest.mark.parametrize("name", TAUGHT)
def test_arms_of_self_improvement_differ_and_are_held_against_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every arm has recipes that stand and pictures that can be made, and takes as many steps as any other."""
    from denoisight.create.filters import Filters
    from denoisight.create.variation import Variation

    monkeypatch.syspath_prepend(str(ROOT))
    study = importlib.import_module(f"studies.{name}.__main__").STUDY
    cell_of = importlib.import_module("studies.teaching").Cell
    assert len({arm.key for arm in study.arms}) == len(study.arms) and len(study.seeds) >= 3
    for arm in study.arms:
        cell = cell_of(study, arm, study.seeds[0])
        Filters(**arm.filters)
        assert Variation(**cell.variation(0)).per_image * (arm.labels or arm.count) >= arm.count
        turns = [cell.recipe(cell.warm, turn) for turn in range(arm.rounds)]
        assert cell.warm_recipe.steps == study.steps[0] and sum(turn.steps for turn in turns) == study.steps[1]
        assert {turn.batch for turn in turns} == {cell.warm_recipe.batch}
        assert any(other.name.endswith("labels alone") for other in study.arms if other.group == arm.group)


def test_what_another_study_did_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same arm by another name, seed and settings alone, and once."""
    monkeypatch.syspath_prepend(str(ROOT))
    teach, teaching = importlib.import_module("studies.teach"), importlib.import_module("studies.teaching")
    arms = [teaching.Arm("mine", pictures="created"), teaching.Arm("other", pictures="created", count=50)]
    study = teaching.Study(folder=tmp_path / "mine", arms=tuple(arms), seeds=(0, 1))
    own = {"key": ["theirs", "normals", 100], "arm": arms[0].done_as, "settings": study.settings, "val": {"a": 1}}
    theirs = [{**own, "seed": 0}, {**own, "seed": 1, "settings": "of others"}, {**own, "seed": 2}]
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "theirs" / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in theirs))
    for _ in range(2):
        teach.take_over(study)
        assert study.rows() == [{**theirs[0], "key": ["mine", "normals", 100]}]


def test_warm_ups_that_label_together_differ_in_their_seeds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    teaching = importlib.import_module("studies.teaching")
    study = importlib.import_module("studies.routes.__main__").STUDY
    cell = teaching.Cell(study, next(arm for arm in study.arms if arm.labelled_by == "several"), 1)
    assert len({folder for _, folder in cell.labellers}) == teaching.MEMBERS and cell.labellers[0][1] == cell.warm
    recipes = [member.warm_recipe.model_dump() for member in cell.members]
    assert len({recipe.pop("seed") for recipe in recipes}) == teaching.MEMBERS and recipes.count(recipes[0]) == 4


@pytest.mark.parametrize("name", TAUGHT)
def test_stages_come_once_and_before_what_needs_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run stands at the end of stages that are all named, and none waits for one that waits for it."""
    from graphlib import TopologicalSorter

    monkeypatch.syspath_prepend(str(ROOT))
    teach, teaching = importlib.import_module("studies.teach"), importlib.import_module("studies.teaching")
    study = importlib.import_module(f"studies.{name}.__main__").STUDY
    cells = [teaching.Cell(study, arm, seed) for seed in study.seeds[:2] for arm in study.arms]
    tasks = {task.makes: task for task in teach.tasks(cells)}
    assert all(need in tasks for task in tasks.values() for need in task.needs)
    order = list(TopologicalSorter({name: task.needs for name, task in tasks.items()}).static_order())
    assert len(order) == len(tasks)
    trained = [task for task in tasks.values() if task.work is teach.train_and_score]
    assert [task.call[0] for task in trained] == cells
    for task in trained:
        (cell,) = task.call
        assert {cell.warm, *(folder for _, folder in cell.labellers if cell.arm.pictures == "annotated")} <= set(
            task.needs
        )
        assert cell.arm.pictures not in ("created", "annotated") or cell.created(cell.arm.rounds - 1) in task.needs


def _noted(folder: Path, text: str) -> str:
    with (folder / "order").open("a") as file:
        file.write(text)
    return text


def test_tasks_wait_for_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First come, first done, unless something is missing; what is there is not made, and nothing is made twice."""
    monkeypatch.syspath_prepend(str(ROOT))
    pool = importlib.import_module("studies.pool")

    def task(makes: Path | str, *needs: Path | str) -> object:
        return pool.Task(makes, _noted, (tmp_path, str(makes)[-1]), needs)

    (tmp_path / "t").mkdir()
    listed = [task("a", "c"), task("b"), task("b"), task(tmp_path / "t"), task("c", tmp_path / "t"), task("d")]
    assert [found for _, found in pool.when_ready(listed, 1)] == ["b", "c", "a", "d"]
    assert (tmp_path / "order").read_text() == "bcad"


def test_both_routes_label_what_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads are asked about mirror images, too; a network that denoises normals is not, and would refuse."""
    from denoisight.data.open import open_data
    from denoisight.data.paired import write_pairs

    monkeypatch.syspath_prepend(str(ROOT))
    teach, teaching = importlib.import_module("studies.teach"), importlib.import_module("studies.teaching")
    study = importlib.import_module("studies.routes.__main__").STUDY
    reader = open_data("scenes:2", "train")
    write_pairs((reader[i].only(["normals"]) for i in range(2)), tmp_path / "created")
    monkeypatch.setattr(teaching.Cell, "created", lambda cell, turn: tmp_path / "created")
    monkeypatch.setattr(teaching.Cell, "denoising", Path("embedded"))
    arm = next(arm for arm in study.arms if arm.labelled_by == "denoise")
    teach._write_annotated(teaching.Cell(study, arm, 0), 0, tmp_path / "labelled")
    assert open_data(tmp_path / "labelled", "train").truths == ("normals",)


@pytest.mark.parametrize("name", [name for name in TAUGHT if (ROOT / "studies" / name / "results.jsonl").exists()])
def test_its_readme_is_written_from_its_results(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    folder = ROOT / "studies" / name
    module = importlib.import_module(f"studies.{name}.__main__")
    tables = importlib.import_module("studies.teaching_tables")
    for file in ("results.jsonl", "pictures.jsonl"):
        if (folder / file).exists():
            (tmp_path / file).write_bytes((folder / file).read_bytes())
    tables.write(replace(module.STUDY, folder=tmp_path), module.ABOUT)
    assert (tmp_path / "README.md").read_text() == (folder / "README.md").read_text()


def told(scores: dict[int, float]) -> list[dict]:
    """Runs by seed, as far as tables read them."""
    own = {"cpu_s": 1, "val": {}, "raw": {}}
    return [{**own, "seed": seed, "scores": {"normals": {"test": score, "drawn": [score] * 3}}}
            for seed, score in scores.items()]  # fmt: skip


def test_a_table_tells_what_a_created_picture_is_worth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 400 created ones gain 1 degree, as many real ones 2, 100 more labels 4."""
    monkeypatch.syspath_prepend(str(ROOT))
    study = importlib.import_module("studies.self_improve.__main__").STUDY
    tables = importlib.import_module("studies.teaching_tables")
    degrees = {("labels alone", 100): 0, ("+ created, improving labels", 100): 1, ("created alone", 100): -9,
               ("+ created, two rounds", 100): 1, ("+ real without labels", 100): 2, ("labels alone", 200): 4,
               ("labels alone", 0): 8}  # fmt: skip
    base = {0: 20.0, 1: 21.0, 2: 22.0}
    found = {
        arm: told({seed: score - degrees[arm.name, arm.labels] for seed, score in base.items()})
        for arm in study.arms
        if arm.tasks == ("normals",) and (arm.name, arm.labels) in degrees
    }
    monkeypatch.setattr(tables, "runs_of", lambda study, arm: found.get(arm, []))
    tables.write(replace(study, folder=tmp_path), "# About")
    rows = [line for line in (tmp_path / "README.md").read_text().split("gained per 100 |")[1].splitlines()[2:] if line]
    assert rows[:4] == [
        "| 100 | + created, improving labels | 400 | +0.250 [+0.250, +0.250] | 0.50 [0.50, 0.50] | 0.06 [0.06, 0.06] |",
        "| 100 | + created, two rounds | 800 | +0.125 [+0.125, +0.125] | 0.25 [0.25, 0.25] | 0.03 [0.03, 0.03] |",
        "| 100 | + real without labels | 400 | +0.500 [+0.500, +0.500] | 1.00 [1.00, 1.00] | 0.12 [0.12, 0.12] |",
        "| 100 | + 100 real with labels | 100 | +4.000 [+4.000, +4.000] | 8.00 [8.00, 8.00] | 1.00 [1.00, 1.00] |",
    ]
    assert not any(line.startswith("| ") for line in rows[4:]), "200 labels and all have nothing created beside"


def test_without_created_or_without_real_pictures_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one seed there is a gain without an interval, and no ratio; the reference is of the most similar number."""
    monkeypatch.syspath_prepend(str(ROOT))
    study = importlib.import_module("studies.creation_count.__main__").STUDY
    tables = importlib.import_module("studies.teaching_tables")
    found = {arm: told({0: 20.0 - 0.01 * arm.count * bool(arm.pictures)}) for arm in study.arms}
    for kind in ("created", "unlabelled"):
        few = {arm: runs for arm, runs in found.items() if arm.pictures != kind}
        assert tables.useful("normals", few) == []
    assert "| 100 | + 50 created | 50 | +1.000 |  |  |" in tables.useful("normals", found)
    (added,) = tables.additions("normals", found).values()
    some = next(one for one in added if one.name == "+ 200 created")
    assert tables._like(some, "unlabelled", added) is next(
        one.gained for one in added if one.name == "+ 200 real without labels"
    )


def test_the_readme_tells_what_created_images_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    written = importlib.import_module("studies.improving_readme")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{written.BEGIN}{written.table()}{written.END}" in text
    assert f"{written.COST_BEGIN}{written.costs()}{written.COST_END}" in text
