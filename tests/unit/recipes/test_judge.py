"""What is judged when everything is asked for, and what is said about the rest."""

import sys
from dataclasses import replace

import pytest
import torch

from denoisight.annotations import Query
from denoisight.data.open import Procedural
from denoisight.data.scenes import CLASSES, Scenes
from denoisight.errors import MissingExtraError, UsageError
from denoisight.evaluate.protocols import PROTOCOLS, find, list_hash
from denoisight.models.folder import TaskEntry
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.recipes.judge import ask, judge
from denoisight.recipes.pages.run import evaluation_page
from denoisight.report.page import to_html
from denoisight.tasks.instruct import INSTRUCT, TEMPLATES
from denoisight.train.validate import CHOOSE_BY, validate

FEW = {"limit": 2, "partial": True, "quiet": True}
ONE_STEP = Options(steps=1, batch=2)


@pytest.fixture
def model(make_parts):
    """Denoises the tasks that scenes/test judges here, and one that it does not."""
    parts = make_parts()
    names = ("depth", "normals", "semantic", "referring", "saliency", "instances", "boundary")
    entries = {entry.name: entry for entry in parts.config.denoises}
    entries["semantic"] = entries["semantic"].model_copy(update={"classes": CLASSES})
    return Model(parts.with_config(denoises=tuple(entries[name] for name in names), reads=()))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Protocols of a few scenes for all tasks but some, and baselines from a few more."""
    few = Scenes("test", 2)
    keys = [few.key(i) for i in range(2)]
    made = tuple(
        replace(p, count=2, list_hash=list_hash(keys))
        for p in PROTOCOLS["scenes/test"]
        if p.task not in ("boundary", "detection", "parts")
    )
    monkeypatch.setitem(PROTOCOLS, "scenes/test", made)
    monkeypatch.setattr("denoisight.recipes.judge.TRAINING_IMAGES", 3)


def test_mirror_images_are_refused_before_anything_is_judged(model):
    with pytest.raises(UsageError, match="depth, normals would be denoised"):
        judge(model, "tiny", protocol="scenes/test", task="depth,normals", options=Options(mirror=True), quiet=True)


def test_what_is_read_out_is_judged_by_both_orientations(make_parts):
    how = {"protocol": "scenes/test", "task": "depth", "quiet": True, "trivial": False}
    both, one = (
        judge(Model(make_parts()), "tiny", **how, options=Options(route="readout", mirror=mirror)).results.results[0]
        for mirror in (True, False)
    )
    assert both.settings["mirror"] is True and "mirror" not in one.settings and both.scores != one.scores


def test_what_is_read_out_has_no_ensemble(make_parts):
    how = {"protocol": "scenes/test", "task": "depth", "quiet": True, "trivial": False}
    options = Options(route="readout", ensemble=3)
    assert judge(Model(make_parts()), "tiny", **how, options=options).results.results[0].settings["ensemble"] == 1


def test_all_is_what_protocol_and_model_share(model):
    pytest.importorskip("faster_coco_eval")
    judged = judge(model, "tiny", protocol="scenes/test", options=ONE_STEP, quiet=True)
    tasks = list(dict.fromkeys(r.protocol.task for r in judged.results.results))
    assert tasks == ["depth", "normals", "semantic", "referring", "saliency", "instances"]
    assert judged.notes == ("Left out boundary, which scenes/test does not judge.",)
    assert not any(result.partial for result in judged.results.results)
    assert {"largest object", "random object", "mean training mask"} <= judged.baselines
    html = to_html(evaluation_page(judged, "denoisight evaluate"))
    assert "Left out boundary" in html and "referring: best, worst and random images" in html
    assert "&#34;the " in html, "the caption says what was asked"


def test_what_the_model_did_not_learn_is_left_out_with_a_note(model):
    only = Model(model.parts.with_config(denoises=model.parts.config.denoises[:1]))
    judged = judge(only, "tiny", protocol="scenes/test", options=ONE_STEP, quiet=True, trivial=False)
    assert [r.protocol.task for r in judged.results.results] == ["depth"]
    assert judged.notes == (
        "Left out normals, semantic, referring, saliency, instances, which the model did not learn.",
    )
    with pytest.raises(UsageError, match="judges semantic, but the model learnt depth"):
        judge(only, "tiny", protocol="camvid-240/test")
    with pytest.raises(UsageError, match="cannot predict 'referring'"):
        judge(only, "tiny", protocol="scenes/test", task="referring")


def test_a_lacking_package_leaves_its_task_out_of_all_and_stops_it_alone(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    judged = judge(model, "tiny", protocol="scenes/test", options=ONE_STEP, quiet=True, trivial=False)
    assert "instances" not in {r.protocol.task for r in judged.results.results}
    assert any("denoisight[eval]" in note for note in judged.notes)
    with pytest.raises(MissingExtraError):
        judge(model, "tiny", protocol="scenes/test", task="instances")


def test_a_task_that_the_protocol_lacks_is_refused_by_name(model):
    with pytest.raises(UsageError, match=r"judges depth.*not boundary"):
        judge(model, "tiny", protocol="scenes/test", task="boundary")


def test_every_scored_task_validates(model):
    reader = Procedural(Scenes("val", 2, (32, 32)))
    tasks = [name for name in model.tasks if name in CHOOSE_BY]
    scores = validate(model, [*tasks, "instruct"], "denoise", reader, steps=1)
    assert set(scores) == {f"{task}/{CHOOSE_BY[task][0]}" for task in tasks} | {"badness"}
    assert "referring/miou" in scores and "boundary/max_f" in scores
    assert find("scenes/test", "referring").truth == "mask"


# ---- asked in free words ----


@pytest.fixture
def follows(model):
    """The same, taught to follow instructions; it remembers the prompts that it hears."""
    following = Model(model.parts.with_config(denoises=(*model.parts.config.denoises, TaskEntry(name=INSTRUCT))))
    following.heard = []
    listen = following.parts.backbone.text.forward
    following.parts.backbone.text.forward = lambda prompts: following.heard.extend(prompts) or listen(prompts)
    return following


@pytest.mark.parametrize("phrasing", ["0", "3", "7", "random"])
def test_a_phrasing_is_heard_and_written_down_and_judged_by_the_tasks_own_protocol(follows, phrasing):
    how = {"options": ONE_STEP, "phrasing": phrasing, "quiet": True, "trivial": False}
    judged = judge(follows, "tiny", protocol="scenes/test", task="depth,referring", **how)
    depth, referring = judged.results.results
    assert (depth.protocol, referring.protocol) == (find("scenes/test", "depth"), find("scenes/test", "referring"))
    told = {task: "random" if phrasing == "random" else TEMPLATES[task][int(phrasing) % 4] for task in TEMPLATES}
    assert depth.settings["phrasing"] == told["depth"] and referring.settings["phrasing"] == told["referring"]
    said = set(follows.heard)
    if phrasing == "random":
        assert said & set(TEMPLATES["depth"])
    else:
        before, after = told["referring"].split("{text}")
        assert {told["depth"]} < said and any(s.startswith(before + "the ") and s.endswith(after) for s in said)
    assert "depth" not in said


def test_pictures_of_the_report_are_asked_in_the_same_words(follows):
    how = {"options": ONE_STEP, "phrasing": "2", "quiet": True, "trivial": False}
    judged = judge(follows, "tiny", protocol="scenes/test", task="depth", **how)
    follows.heard.clear()
    evaluation_page(judged, "denoisight evaluate")
    assert set(follows.heard) == {TEMPLATES["depth"][2]}


def test_a_picture_without_a_phrase_is_asked_too(follows):
    (answer,) = ask(follows, [Query(torch.rand(3, 32, 32), "", "a")], "referring", ONE_STEP, "0")
    assert answer.task == "referring" and follows.heard == ["segment nothing"]


@pytest.mark.parametrize(
    ("phrasing", "route", "says"),
    [("first", None, "no phrasing 'first'.*from 0, or random"), ("-1", None, "no phrasing"), ("0", "readout", "hears")],
)
def test_bad_phrasings_are_refused(follows, phrasing, route, says):
    with pytest.raises(UsageError, match=says):
        judge(follows, "tiny", protocol="scenes/test", phrasing=phrasing, options=Options(route=route))


def test_who_was_not_taught_to_follow_is_not_asked_in_free_words(model):
    with pytest.raises(UsageError, match="not taught to follow instructions; leave out --phrasing"):
        judge(model, "tiny", protocol="scenes/test", phrasing="0")
