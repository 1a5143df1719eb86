"""Warm-up, creation and improvement as one: each stage is done once, and the best average is kept."""

import html
import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file

from denoisight.cli.report import report as report_command
from denoisight.create.captions import said
from denoisight.create.filters import Filters
from denoisight.create.pairs import source_key
from denoisight.create.variation import Variation
from denoisight.data.export import export
from denoisight.data.images import write_image
from denoisight.data.open import open_data
from denoisight.data.paired import write_pairs
from denoisight.errors import DataError, DenoisightError, RecipeError, UsageError
from denoisight.predict.load import load
from denoisight.recipes import improve_stages
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.improve import Plan, _finish, _refused, improve
from denoisight.recipes.improve_looks import Looks
from denoisight.recipes.improve_stages import Stages, counted
from denoisight.recipes.improving import adapt_creation, self_improve, warm_up
from denoisight.recipes.launch import _readers, train
from denoisight.recipes.pages.improve import METRICS, PAGE, PLAN, REPORT, write_improve_page
from denoisight.recipes.self_teaching import average_of, beside, decay_in, self_taught
from denoisight.recipes.start import starting_parts
from denoisight.train.run import Interrupted, Run
from denoisight.train.validate import CHOOSE_BY
from oracles.stock_folders import stock_folder

TINY = {"steps": 3, "batch": 4, "res": 32, "validations": 1, "validation_images": 2, "workers": 0, "threads": 1}
TASKS = ("normals", "semantic")
RUNS = ("whole", "parted")


@pytest.fixture(scope="module")
def creator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that creates, badly."""
    out = tmp_path_factory.mktemp("creator")
    network = {"widths": [16, 32], "text_width": 16, "text_layers": 1}
    new = {"model": "new", "network": network, "teaching": {"create": 1.0}, "augment": {"crop": 1.0}}
    train(override(Recipe(data="scenes:4"), {**TINY, **new}), out, quiet=True, overwrite=True)
    return out


def plan(creator: Path, **changes: object) -> Plan:
    own = {**TINY, "model": str(creator), **changes}
    warm, improving = (override(make(TASKS, "scenes:4"), own) for make in (warm_up, self_improve))
    return Plan(warm, improving, Variation(per_image=1, steps=2))


def test_all_stages_in_one_call(creator: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = replace(plan(creator), rounds=2)
    done = improve(told, out, quiet=True)
    stages = [json.loads(line) for line in (out / "stages.jsonl").read_text().splitlines()]
    turns = [f"{name}-{turn}" for turn in (1, 2) for name in ("created", "judged", "improved")]
    assert [stage["stage"] for stage in stages] == ["warm-up", *turns]
    assert all(stage["seconds"] >= 0 and stage["peak_mb"] > 0 for stage in stages)
    assert stages[1]["made"] == 4 and stages[1]["network_passes"] == 13, "two steps and a look at each, one at a blank"
    assert stages[2]["kid"][0] is not None
    # 4 scenes with their mirror images at most; 2 held-out scenes for each of 2 tasks, before and at the end.
    assert 4 + 8 <= stages[0]["network_passes"] <= 8 + 8, "what is remembered is not asked for again"
    first, second = (open_data(out / f"created-{turn}", "all") for turn in (1, 2))
    assert len(first) and (first[0].image != second[0].image).any(), "a second round creates anew"

    report = json.loads((out / "improve.json").read_text())
    worst = {name: row["val/badness"] for name, row in report["last_validation"].items()}
    assert done.best == report["best"] and set(worst) == {"warm-up", "improved-1", "improved-2"}
    assert "raw/normals/mean" in report["validation"]["improved-1"]
    kept, best = load(done.model, "cpu"), load(out / done.best, "cpu")
    assert kept.weights_hash == best.weights_hash and set(kept.reads) == set(TASKS)

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    again = improve(told, out, quiet=True)
    assert again.scores == done.scores
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    assert len((out / "stages.jsonl").read_text().splitlines()) == 7, "nothing was done twice"
    with pytest.raises(UsageError, match="another plan"):
        improve(replace(told, rounds=1), out, quiet=True)


def test_a_call_goes_on_where_another_stopped(creator: Path, tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    told = plan(creator)
    improve(told, whole, quiet=True)
    improve(told, parted, quiet=True)
    lines = (parted / "stages.jsonl").read_text().splitlines(keepends=True)
    (parted / "stages.jsonl").write_text(lines[0])
    for path in (parted / "created-1").glob("created-*.json"):
        path.unlink()
    improve(told, parted, quiet=True)
    assert load(parted, "cpu").weights_hash == load(whole, "cpu").weights_hash


def test_pictures_of_which_none_shows_anything_end_it(creator: Path, tmp_path: Path) -> None:
    told = replace(plan(creator), filters=Filters(min_contrast=1.0))
    with pytest.raises(DataError, match="Every image was dropped: 4 blank. The model has not learnt how such images"):
        improve(told, tmp_path / "run", quiet=True)
    stages = [json.loads(line) for line in (tmp_path / "run" / "stages.jsonl").read_text().splitlines()]
    assert [(line["stage"], line.get("stopped")) for line in stages] == [("warm-up", None), ("created-1", True)]


WAYS = (
    ("denoise", {}),
    ("denoise", {"lora": 2}),
    ("readout", {"backbone": "lora", "lora": 2}),
    ("readout", {"backbone": "full"}),
    ("readout", {"backbone": "full", "read_prompt": "caption"}),
)


@pytest.mark.parametrize(("route", "network"), WAYS)
def test_either_way_of_perceiving_improves(
    creator: Path, tmp_path: Path, route: Literal["denoise", "readout"], network: dict[str, str]
) -> None:
    """With adapters, too: then they are what learns and is averaged."""
    own = {**TINY, "model": str(creator), **network}
    warm, improving = (override(make(("normals",), "scenes:4", route), own) for make in (warm_up, self_improve))
    out = tmp_path / "run"
    done = improve(Plan(warm, improving, Variation(per_image=1, steps=2), rounds=2), out, quiet=True)
    kept = load(done.model, "cpu")
    assert set(kept.reads if route == "readout" else kept.denoises) == {"normals"}
    moved = [json.loads(line) for line in (out / "improved-1" / "metrics.jsonl").read_text().splitlines()]
    assert any(row.get("gradient_norm", 0) > 0 for row in moved)
    text = (out / PAGE).read_text()
    assert "Created images beside real ones" in text
    assert ("create loss (squared error)" in text) == (route == "denoise")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"captions": "nowhere.csv"}, "nowhere.csv"),
        ({"warm_up": {"tasks": ("normls",)}}, "normls"),
        ({"warm_up": {"model": "perceives"}}, "never learnt to create"),
        ({"warm_up": {"tasks": ("depth",)}, "improving": {"self_teaching": {"confidence": 0.5}}}, "how sure .* depth"),
    ],
)
def test_what_cannot_be_created_is_told_before_anything_is_begun(
    creator: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    if changes.get("warm_up") == {"model": "perceives"}:
        changes = {"warm_up": {"model": str(perceiving(creator, tmp_path / "perceives"))}}
    told = plan(creator)
    own = {
        name: override(getattr(told, name), value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    with pytest.raises(DenoisightError, match=says):
        improve(replace(told, **own), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def perceiving(creator: Path, folder: Path) -> Path:
    """The same network, which is said not to create."""
    model = load(creator, "cpu")
    model.parts = model.parts.with_config(creates=False)
    return Path(model.save_pretrained(folder) or folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"self_teaching": {"labels": "own", "weight": 0.5}}, "self_teaching.weight is of labels that the average"),
        ({"self_teaching": {"dropout": 0.5}, "route": "denoise", "backbone": "full"}, "dropout is of heads"),
        ({"self_teaching": {"labels": "own"}, "route": "denoise", "backbone": "full", "teaching": {"create": 0.5}},
         "would be learnt to be created, too; .* by --route readout in denoisight improve"),
    ],
)  # fmt: skip
def test_what_a_later_stage_would_refuse_is_told_at_once(
    creator: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    told = plan(creator)
    with pytest.raises(RecipeError, match=says):
        improve(replace(told, improving=override(told.improving, changes)), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_remedies_name_what_the_plan_takes(creator: Path) -> None:
    told = plan(creator)
    denoising = replace(told, warm_up=warm_up(TASKS, "scenes:4", "denoise"))
    labelled = replace(told, improving=override(told.improving, {"self_teaching": {"labels": "own"}}))
    refused = [_refused(each) for each in (told, denoising, labelled)]
    assert refused == [set(), {"--weights", "--min-confidence"}, {"--self-teaching.weight"}]


def test_a_network_that_only_perceives_is_not_adapted(creator: Path, tmp_path: Path) -> None:
    """Which is told before anything is begun, and with a way out that there is."""
    told = plan(creator, model=str(stock_folder(tmp_path / "marigold", "depth")))
    with pytest.raises(RecipeError, match="only perceives and cannot learn to create; start from the Stable Diffusion"):
        improve(replace(told, adapt=adapt_creation(told.warm_up, "2s")), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_model_of_pickles_is_opened_in_all_stages(creator: Path, tmp_path: Path) -> None:
    folder = stock_folder(tmp_path / "pickled", "create")
    for path in folder.rglob("*.safetensors"):
        name = "pytorch_model.bin" if path.parent.name == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(path), path.with_name(name))
        path.unlink()
    told = replace(plan(creator, model=str(folder), allow_pickle=True, tasks=("normals",)), captions="none")
    assert starting_parts(adapt_creation(told.warm_up, "2s"), told.source()).config.creates
    improve(told, tmp_path / "run", quiet=True)
    lines = (tmp_path / "run" / "stages.jsonl").read_text().splitlines()
    assert [line["stage"] for line in map(json.loads, lines) if "kid" in line] == ["judged-1"]


def test_a_judge_that_is_not_there_or_knows_nothing_of_it_is_told_at_once(creator: Path, tmp_path: Path) -> None:
    for judge, says in ((str(tmp_path / "typo"), "typo"), (str(creator), "knows no task")):
        with pytest.raises(DenoisightError, match=says):
            improve(replace(plan(creator), judge=judge), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_time_that_a_training_took_before_it_was_stopped_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def trained(recipe: Recipe, folder: Path, **_: object) -> None:
        asked.append(recipe.max_time)
        raise KeyboardInterrupt

    monkeypatch.setattr("denoisight.recipes.improve_stages.train", trained)
    lines = [{"stage": "warm-up", "seconds": 30.0}, {"stage": "improved-1", "seconds": 50.0, "stopped": True}]
    (tmp_path / "stages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stages = Stages(tmp_path, max_time=100.0)
    for name in ("improved-1", "improved-2"):
        with pytest.raises(KeyboardInterrupt):
            stages.train(name, Recipe(), share=0.2)
    assert asked == ["14s", "4s"], "its own 50 seconds are left to itself, another stage pays for them"
    late = Stages(tmp_path, max_time=1.0)
    with pytest.raises(KeyboardInterrupt):
        late.train("improved-3", Recipe(), share=0.2)
    assert asked[-1] == "1s", "no time left is not no limit"


def test_passes_are_counted_on_from_earlier_calls() -> None:
    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (x,)

    unet, passes = Network(), Counter(images=3)
    with counted(unet, passes):
        unet(torch.zeros(4, 2))
    unet(torch.zeros(4, 2))
    assert passes["images"] == 7


def test_a_stage_that_was_stopped_keeps_its_time(tmp_path: Path) -> None:
    def stopped() -> dict[str, object]:
        time.sleep(0.2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, max_time=10.0).run("warm-up", stopped)
    again = Stages(tmp_path, max_time=10.0)
    assert not again.done and again.left() <= 9.8
    again.run("warm-up", lambda: {"steps": 3})
    assert again.done[0]["steps"] == 3 and again.done[0]["seconds"] >= 0.2
    assert again.run("warm-up", stopped)["steps"] == 3, "done once"


def test_a_stage_that_is_killed_has_told_how_long_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(improve_stages, "BEAT", 0.1)

    def killed(passes: improve_stages.Passes) -> dict[str, object]:
        passes.update(images=2)
        assert not (tmp_path / "stages.jsonl").exists(), "not written at every pass"
        time.sleep(0.2)
        passes.update(images=1)
        late = Stages(tmp_path, max_time=10.0)  # what the next call sees, were this one killed now
        assert not late.done and 9.0 <= late.left() <= 9.8 and late.lines["look"]["network_passes"] == 3
        return {}

    stages = Stages(tmp_path, max_time=10.0)
    stages.judge("look", killed)
    assert [line["stage"] for line in stages.done] == ["look"]


@pytest.mark.parametrize("route", ["readout", "denoise"])
def test_teaching_oneself_goes_on_bit_for_bit(creator: Path, tmp_path: Path, route: str) -> None:
    own = {**TINY, "model": str(creator), "steps": 6, "checkpoint_every": 2, "self_teaching": {"pictures": "scenes:3"}}
    recipe = override(self_improve(("normals",), "scenes:4", route), own)
    train(recipe, tmp_path / "whole", quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("denoisight.train.run.Run._save", _dying_at(4))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "parted", quiet=True)
    train(recipe, tmp_path / "parted", resume="latest", quiet=True)
    whole, parted = (load_file(tmp_path / name / "checkpoints/step-000006/weights.safetensors") for name in RUNS)
    assert all(torch.equal(whole[name], parted[name]) for name in whole)


def _dying_at(last: int) -> Callable[..., None]:
    """Saves as it should, and dies when that was the checkpoint of step `last`."""
    save = Run._save

    def saving(run: Run, step: int, *rest: object) -> None:
        save(run, step, *rest)
        if step == last:
            raise KeyboardInterrupt

    return saving


def test_the_network_adapts_to_pictures_without_truths(creator: Path, tmp_path: Path) -> None:
    told = plan(creator)
    adapt = override(adapt_creation(told.warm_up, "30s"), {"steps": 2, "batch": 2})
    improve(replace(told, adapt=adapt), tmp_path / "run", quiet=True)
    before, after = (load(folder, "cpu").parts.backbone.state_dict() for folder in (creator, tmp_path / "run"))
    assert any((before[name] != after[name]).any() for name in before)


def test_several_processes_are_sent_to_its_stages(
    creator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 processes were started, but improve is for one"):
        improve(plan(creator), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_else_is_left_alone(creator: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds other things"):
            improve(plan(creator), tmp_path, overwrite=overwrite, quiet=True)
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"sample_pixels": 0.5}, "sample_pixels"),
        ({"weights": {"normals": 2.0}}, "weights"),
        ({"optim": {"backbone_lr": 0.5}}, "backbone_lr"),
    ],
)
def test_what_the_route_refuses_is_told_before_anything_is_begun(
    creator: Path, tmp_path: Path, own: dict[str, object], says: str
) -> None:
    denoising = {**TINY, "model": str(creator), **own}
    warm, improving = (override(make(TASKS, "scenes:4", "denoise"), denoising) for make in (warm_up, self_improve))
    with pytest.raises(RecipeError, match=says):
        improve(replace(plan(creator), warm_up=warm, improving=improving), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_was_seen_in_other_pictures_is_not_forgotten(creator: Path, improved: Path, tmp_path: Path) -> None:
    """Where the last ones could not be judged, nothing is said of them."""
    shutil.copytree(improved, tmp_path / "run")
    seen = {"judged-1": [10.0, 9.5, 10.5], "judged-2": None, "judged-after": [14.0, 13.5, 14.5]}
    for rounds, told in ((1, True), (2, False)):
        stages = Stages(tmp_path / "run", None)
        for name, bounds in seen.items():
            judged = {} if bounds is None else {"agreement": {"normals": bounds}}
            judged |= {"kid": [0.0, 0.0, 0.0]} if name == "judged-1" else {}
            stages.lines[name] = {"stage": name, "seconds": 1.0, "peak_mb": 1, **judged}
        done = _finish(
            replace(plan(creator), rounds=rounds),
            tmp_path / "run",
            [tmp_path / "run" / "warm-up", tmp_path / "run" / "improved-1"],
            stages,
        )
        assert any("from 10 to 14" in sign.seen for sign in done.signatures) == told


def test_what_it_begins_with_is_not_overwritten(creator: Path, improved: Path) -> None:
    for begun in (plan(improved / "model"), plan(creator, data=f"shards:{improved / 'created-1'}")):
        with pytest.raises(UsageError, match="would be removed"):
            improve(begun, improved, overwrite=True, quiet=True)
    assert load(improved, "cpu").reads


def test_captions_may_be_of_labels_that_are_not_learnt(improved: Path, tmp_path: Path) -> None:
    """Of the pictures that are learnt from, those are varied that have such labels."""
    scenes = open_data("scenes:9", "train", size=(32, 32))
    samples = [scenes[i].only(["normals"] if i % 3 else ["normals", "semantic"]) for i in range(9)]
    write_pairs(samples, tmp_path / "data")
    rows = (tmp_path / "data" / "metadata.jsonl").read_text()
    assert rows.count("semantic_file_name") == 3
    told = replace(plan(improved, tasks=("normals",), data=str(tmp_path / "data"), labels=6), captions="labels")
    maker, learnt = told.maker(load(improved, "cpu")), replace(told, captions="none").source()
    named = {sample.key for sample in samples if "semantic" in sample.truths}
    assert set(maker.source.keys) == named & set(learnt.keys) and len(learnt) == 6
    assert all(said(maker.captions, maker.source[i]).text for i in range(len(maker.source)))
    few = replace(told, warm_up=override(told.warm_up, {"labels": 1}))
    assert not set(replace(few, captions="none").source().keys) & named
    with pytest.raises(DataError, match="None of the 1 labelled pictures has semantic labels"):
        few.source()


def test_pictures_are_held_beside_others_than_their_sources(creator: Path, improved: Path) -> None:
    looks = Looks(plan(creator).source(), str(creator))
    made, real = looks._halves(open_data(improved / "created-1", "all"))
    sources = {source_key(key) for key in made.keys}
    assert sources and not sources & set(real.keys)
    assert sources | set(real.keys) <= set(looks.real.keys) and len(real) == len(looks.real) // 2


def test_a_judge_looks_at_labels_again_in_the_end(creator: Path, improved: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    improve(replace(plan(creator), judge=str(improved)), out, quiet=True)
    stages = {line["stage"]: line for line in map(json.loads, (out / "stages.jsonl").read_text().splitlines())}
    before, after = stages["judged-1"], stages["judged-after"]
    assert set(before["agreement"]) == set(after["agreement"]) == set(TASKS) and "kid" not in after
    assert before["agreement"] != after["agreement"] and before["network_passes"] and after["network_passes"]
    assert "judged-after" in (out / PAGE).read_text()


def test_a_stage_that_was_stopped_says_how_to_go_on(
    creator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted(15, 3, "go on with: --resume -o stage")

    monkeypatch.setattr("denoisight.recipes.improve_stages.train", stopped)
    with pytest.raises(Interrupted, match="at step 3 with everything saved; go on with the same command") as told:
        improve(plan(creator), tmp_path / "run", quiet=True)
    assert told.value.exit_code == 143


def test_rounds_are_at_least_one(creator: Path) -> None:
    with pytest.raises(UsageError, match="0 rounds"):
        replace(plan(creator), rounds=0)


@pytest.mark.parametrize(
    ("own", "count", "labelled"),
    [({}, 6, 4), ({"count": 1}, 5, 4), ({"alone": True}, 2, 0), ({"labels": "own"}, 6, 6)],
)
def test_which_pictures_a_run_learns_from(own: dict[str, object], count: int, labelled: int) -> None:
    recipe = override(self_improve(TASKS, "scenes:4"), {**TINY, "self_teaching": {"pictures": "scenes:2", **own}})
    reader, _ = _readers(recipe)
    samples = [reader[i] for i in range(len(reader))]
    assert len(samples) == count and sum(sample.labelled for sample in samples) == labelled


def test_a_run_learns_from_photographs_that_nobody_labelled(tmp_path: Path) -> None:
    for name in ("train/0", "train/1", "train/2", "val/3"):
        write_image(tmp_path / "photos" / f"{name}.png", torch.full((3, 16, 16), 0.5))
    recipe = override(
        self_improve(TASKS, "scenes:4"), {**TINY, "self_teaching": {"pictures": str(tmp_path / "photos")}}
    )
    reader, _ = _readers(recipe)
    assert [reader[i].labelled for i in range(len(reader))] == [True] * 4 + [False] * 3


@pytest.mark.parametrize("labels", ["average", "own"])
def test_the_average_moves_as_fast_whoever_labels_the_pictures(labels: str) -> None:
    own = {**TINY, "steps": 100, "self_teaching": {"pictures": "scenes:2", "labels": labels}}
    average = average_of(override(self_improve(TASKS, "scenes:4"), own), torch.nn.Linear(1, 1))
    assert average.get_decay(average.optimization_step + 1) == pytest.approx(0.5 ** (1 / 5)), "half over a twentieth"


def test_where_time_ends_a_run_the_average_moves_as_fast_as_in_one_of_so_many_steps(tmp_path: Path) -> None:
    own = {"steps": 10_000, "self_teaching": {"pictures": "scenes:2"}}
    recipe, module = override(self_improve(TASKS, "scenes:4"), own), torch.nn.Linear(1, 1)
    run, average = Run(tmp_path, 10_000, 0, 1e-3, 0, max_time=60.0), average_of(recipe, module)
    run.decay = partial(decay_in, recipe)
    run._elapsed, run._paces = 15.0, deque([0.6] * 20 + [3.0])  # 0.6 s a step, and a validation
    run.move_average(average, module, 25)  # 75 steps are to come
    assert average.get_decay(average.optimization_step) == pytest.approx(0.5 ** (1 / 5), rel=1e-3)
    run.max_time = None
    average = average_of(recipe, module)
    run.move_average(average, module, 25)
    assert average.get_decay(average.optimization_step) == pytest.approx(0.5 ** (1 / 500))


def test_words_have_no_answer_on_pictures_without_truths() -> None:
    recipe = override(self_improve(("referring",), "scenes:4"), {"self_teaching": {"pictures": "scenes:2"}})
    with pytest.raises(RecipeError, match="referring"):
        beside(recipe, open_data("scenes:4"))


def test_created_pictures_are_not_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they lie, and whatever leads there; of others those for judging stay out."""
    reader = open_data("scenes:9", "train", ["normals"])
    for folder, source in (("real", None), ("made", {"variation": {}})):
        write_pairs((reader[i] for i in range(9)), tmp_path / folder, source=source)
    export(open_data(tmp_path / "made", "all"), tmp_path / "shards", "shards")
    export(open_data(tmp_path / "real", "all"), tmp_path / "copied", "folder")
    monkeypatch.setenv("DENOISIGHT_DATA_DIR", str(tmp_path))

    def counted_from(spec: str) -> int:
        return len(beside(override(self_improve(("normals",), ""), {"self_teaching": {"pictures": spec}}), reader))

    everywhere = ("made", "shards", f"folder:{tmp_path / 'made'}", f"shards:{tmp_path / 'shards'}")
    assert {counted_from(spec) for spec in everywhere} == {9 + 9}
    assert counted_from("real") == counted_from("copied") < 9 + 9


@pytest.fixture(scope="module")
def improved(creator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("improved") / "run"
    improve(plan(creator), out, quiet=True)
    return out


def test_the_page_tells_all_that_was_done(improved: Path) -> None:
    text = (improved / PAGE).read_text()
    report = json.loads((improved / REPORT).read_text())
    for stage in report["stages"]:
        assert stage["stage"] in text and f"{stage['peak_mb']:,} MB" in text
    assert "improved-1, averaged (theta_C)" in text and "improved-1, raw (theta_E)" in text
    assert "warm-up, raw" not in text, "the warm-up never looks at its raw weights"
    assert text.count("<svg viewBox") > len(TASKS) * 2 and "semantic miou (fraction)" in text
    assert all(sign["remedy"] in html.unescape(text) for sign in report["signatures"])
    assert f"Kept: the averaged weights of {report['best']}" in text
    assert f"--model {improved / 'model'}" in text
    made = report["stages"][1]["pairs"]
    for kind in ("source", "created", *TASKS):
        assert sum(f'alt="{kind}: {number}"' in text for number in range(1, 20)) == made, kind


def test_the_page_is_drawn_again_from_files_alone(improved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    report_command(improved, out=again)
    assert again.read_bytes() == (improved / PAGE).read_bytes()


def test_the_page_does_without_created_images(improved: Path, tmp_path: Path) -> None:
    light = tmp_path / "light"
    shutil.copytree(improved, light)
    shutil.rmtree(light / "created-1")
    text = write_improve_page(light, light / PAGE).read_text()
    assert "Images of created-1 cannot be shown" in text and "theta_C" in text


def test_a_page_that_cannot_be_drawn_loses_nothing(
    creator: Path, improved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Path:
        raise RuntimeError("no ink")

    monkeypatch.setattr("denoisight.recipes.improve.write_improve_page", broken)
    assert improve(plan(creator), improved, quiet=True).model.is_dir()
    assert "no ink" in caplog.text and f"denoisight report {improved}" in caplog.text


def test_only_an_improvement_that_ended_has_a_page(improved: Path, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text((improved / PLAN).read_text())
    with pytest.raises(DataError, match="no finished improvement"):
        report_command(tmp_path)


def test_every_task_that_is_validated_has_its_unit() -> None:
    assert all(metric in METRICS[task] for task, (metric, _) in CHOOSE_BY.items())


@pytest.mark.parametrize(("time", "says"), [("5min", "90s, 10m or 2h"), ("0m", "more than nothing")])
def test_a_time_to_adapt_that_is_none_is_told(time: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        adapt_creation(warm_up(TASKS, "scenes:4"), time)


def test_adapting_ends_with_the_time_that_there_is(creator: Path, tmp_path: Path) -> None:
    told = plan(creator)
    slow = override(adapt_creation(told.warm_up, "1h"), {**TINY, "steps": 100_000})
    with pytest.raises(UsageError, match="1h, which is all of the time"):
        replace(told, adapt=slow, max_time=60.0)
    began = time.monotonic()
    Stages(tmp_path, 4.0, quiet=True).train("adapt", slow, 0.3)
    assert time.monotonic() - began < 30


def test_what_is_created_in_too_little_time_is_what_there_is(creator: Path, tmp_path: Path) -> None:
    """The time ends creation after one of two shards, not always the first."""
    told = plan(creator)
    told = replace(told, warm_up=override(told.warm_up, {"data": "scenes:20"}), captions="none")
    warm = Stages(tmp_path, None, quiet=True).train("warm-up", told.warm_up, 1.0)
    stages = Stages(tmp_path, 1e-3, quiet=True)
    pictures = stages.create("created-1", lambda: told.maker_of(warm, 1), 0.5)
    pairs = stages.lines["created-1"]["pairs"]
    assert len(list(pictures.glob("*.tar"))) == 1 and len(open_data(pictures, "all")) == pairs <= 10


def test_ratios_in_pictures_count_all_pictures_of_a_step(creator: Path) -> None:
    own = {"pictures": "created", "average_over": 80, "ramp": 800}
    changes = {"batch": 8, "optim": {"ema": 0.998, "accumulate": 10}, "self_teaching": own}
    recipe = override(self_improve(TASKS, "scenes:4"), changes)
    assert average_of(recipe, torch.nn.Linear(2, 2)).get_decay(100) == pytest.approx(0.998)
    parts = load(creator, "cpu").parts
    taught = self_taught(recipe, torch.nn.Linear(2, 2), parts, (), average_of(recipe, torch.nn.Linear(2, 2)))
    assert taught.how.weight_at(5) == 0.5


def test_pictures_with_labels_of_their_own_are_never_taken_for_others(tmp_path: Path) -> None:
    """Both folders call their pictures alike; what is remembered of one by its name is not of the other."""
    recipe = override(
        self_improve(("normals",), "scenes:2"), {"self_teaching": {"pictures": "scenes:2", "labels": "own"}}
    )
    joined = beside(recipe, open_data("scenes:2", "train"))
    assert len(set(joined.keys)) == 4 and [joined[i].key for i in range(4)] == list(joined.keys)


def system_forgets() -> bool:
    """Whether a process may begin its peak anew: some have no file for it, are refused, or are heard without effect."""

    def peak_kb() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    try:
        torch.ones(100 * 2**18).sum()
        largest = peak_kb()
        Path("/proc/self/clear_refs").write_text("5")
        return largest - peak_kb() > 50 * 2**10
    except (OSError, StopIteration):
        return False


def test_the_peak_of_memory_is_that_of_a_stage(tmp_path: Path) -> None:
    if not system_forgets():
        pytest.skip("this system does not forget a peak")
    stages = Stages(tmp_path, None)
    large = stages.run("large", lambda: {"sum": float(torch.ones(100 * 2**18).sum())})
    assert large["peak_mb"] - stages.run("small", dict)["peak_mb"] > 50
