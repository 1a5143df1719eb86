"""The example of docs/adding-a-task.md is run as it stands there: trained for a few steps, then asked."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from denoisight.annotations import IGNORE, Labels
from denoisight.data.scenes import Scenes
from denoisight.evaluate.judges import JUDGES
from denoisight.models.text import Words
from denoisight.predict.load import load
from denoisight.recipes.base import Recipe
from denoisight.recipes.judge import judge
from denoisight.recipes.launch import train
from denoisight.tasks import TASKS, make_tasks
from denoisight.train.validate import CHOOSE_BY

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-task.md"
NEW = "foreground"
NETWORK = {"widths": [16, 32], "text_width": 16, "text_layers": 1}


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's first block is a module of `tasks`, its second adds the rows; all is gone after the test."""
    page, rows = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert NEW not in TASKS, "the example must stay one that the package does not have"
    for table in (TASKS, JUDGES, CHOOSE_BY):
        monkeypatch.setitem(table, NEW, None)
    name, path = f"denoisight.tasks.{NEW}", tmp_path / f"{NEW}.py"
    path.write_text(page, encoding="utf-8")
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    exec(compile(rows, str(PAGE), "exec"), {})


@pytest.mark.parametrize("route", ["denoise", "readout"])
def test_it_is_trained_judged_and_asked(added: None, route: str, tmp_path: Path) -> None:
    recipe = Recipe(
        tasks=(NEW,), route=route, data="scenes:8", model="new", network=NETWORK, steps=3, batch=2, res=32,
        predict_steps=1, validations=1, validation_images=2, workers=0, threads=1,
    )  # fmt: skip
    trained = train(recipe, tmp_path / "run", quiet=True)
    assert 0 <= trained.best[f"{NEW}/miou"] <= 1
    model = load(trained.folder, "cpu")
    (judged,) = judge(model, str(trained.folder), task=NEW, data="scenes:2", quiet=True).results.results
    assert "miou" in judged.headline
    prediction = model.predict(Scenes("val", 1)[0].image, NEW)
    assert isinstance(prediction.annotation, Labels) and prediction.annotation.size == (64, 64)
    assert set(prediction.annotation.ids.unique().tolist()) <= {0, 1}
    assert prediction.save(tmp_path / "out")


def test_its_codec_keeps_the_truth_and_what_is_unknown(added: None) -> None:
    (task,) = make_tasks(NEW)
    ids = Scenes("val", 1)[0].truths["instances"].ids
    ids[:5] = IGNORE
    canvas = task.codec.encode(Labels(ids, ()), torch.zeros(3, *ids.shape))
    assert torch.equal(canvas.valid, ids != IGNORE) and not canvas.pixels[:, :5].any()
    assert torch.equal(task.codec.decode(canvas.pixels, canvas.pixels).ids[5:], (ids[5:] > 0).long())


def test_its_prompt_is_known_and_its_own() -> None:
    assert Words().unknown(NEW) == []
    assert NEW not in {task.prompt for task in make_tasks("all", ("any",))}
