"""Model.predict: one image or many, whatever they came as, with answers that hang on the item alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from denoisight.annotations import Depth, Labels, Normals, Query
from denoisight.errors import DataError, DenoisightError, UsageError, WeightsError
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.predict.prediction import Prediction
from denoisight.predict.query import as_query

KINDS = {"depth": Depth, "normals": Normals, "semantic": Labels}
ROUTES = ("denoise", "readout")
every_answer = pytest.mark.parametrize(("task", "route"), [(t, r) for t in KINDS for r in ROUTES])

SIZES = [(24, 32), (40, 24), (24, 32), (17, 23), (24, 32)]


def picture(seed=0, height=24, width=32):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def queries():
    return [Query(picture(i, *size), key=f"item {i}") for i, size in enumerate(SIZES)]


def assert_same(a, b, atol=1e-5):
    """Up to `atol`; what hangs in the balance, a class or the direction of a short vector, may turn by rounding."""
    assert (a.query.key, a.task, a.settings) == (b.query.key, b.task, b.settings)
    if a.latent is not None:
        torch.testing.assert_close(a.latent, b.latent, rtol=0, atol=atol)
    steady, share = (atol, 1.0) if a.task == "depth" or atol == 0 else (10 * atol, 0.99)
    for name, tensor in a.annotation.tensors().items():
        near = (tensor.float() - b.annotation.tensors()[name].float()).abs() <= steady
        assert near.float().mean() >= share, name


def differ(a, b):
    return any(not torch.equal(t, b.annotation.tensors()[name]) for name, t in a.annotation.tensors().items())


# ---- what comes back ----


@every_answer
def test_both_routes_end_in_the_same_kind_of_prediction(tiny_model, task, route):
    prediction = tiny_model.predict(picture(), task, route=route)
    assert type(prediction) is Prediction
    assert type(prediction.annotation) is KINDS[task]
    assert prediction.annotation.size == (24, 32) and prediction.annotation.valid.all()
    assert prediction.task == task and prediction.settings["route"] == route
    assert (prediction.latent is None) == (route == "readout")
    assert prediction.trajectory == ()
    if task == "depth":
        assert prediction.annotation.gauge == "affine"
        assert prediction.annotation.values.min() >= 0 and prediction.annotation.values.max() <= 1
    if task == "normals":
        torch.testing.assert_close(prediction.annotation.vectors.norm(dim=0), torch.ones(24, 32))
    if task == "semantic":
        assert prediction.annotation.classes == tiny_model.task("semantic")[0].classes
    assert (prediction.uncertainty is not None) == (task == "semantic" and route == "readout")


def test_one_gives_one_and_a_list_gives_a_list(tiny_model):
    assert isinstance(tiny_model.predict(queries()[0], "depth"), Prediction)
    assert [p.query.key for p in tiny_model.predict(queries(), "depth")] == [q.key for q in queries()]
    assert len(tiny_model.predict(queries()[:1], "depth")) == 1
    assert tiny_model.predict([], "depth") == []


def test_mixed_sizes_come_back_in_order_and_in_their_own_size(tiny_model):
    for prediction, query in zip(tiny_model.predict(queries(), "normals"), queries(), strict=True):
        assert prediction.annotation.size == query.size
        assert torch.equal(prediction.query.image, query.image)
    native = tiny_model.predict(queries(), "normals", match_input_resolution=False)
    assert [p.annotation.size for p in native] == [(24, 32), (32, 16), (24, 32), (24, 32), (24, 32)]


@pytest.mark.parametrize("res", [0, None])
@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (1, 9)])
def test_odd_images_work(tiny_model, size, res):
    for route in ROUTES:
        prediction = tiny_model.predict(picture(0, *size), "depth", route=route, res=res, steps=1)
        assert prediction.annotation.size == size
        assert torch.isfinite(prediction.annotation.values).all()


def test_the_size_of_work_can_be_chosen(tiny_model):
    asked = {"match_input_resolution": False, "steps": 1}
    assert tiny_model.predict(picture(0, 40, 80), "depth", res=64, **asked).annotation.size == (32, 64)
    assert tiny_model.predict(picture(0, 40, 80), "depth", res=0, **asked).annotation.size == (40, 80)
    assert tiny_model.predict(picture(0, 40, 80), "depth", res=64, **asked).settings["res"] == 64


# ---- the item and the seed alone decide ----


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize(("route", "ensemble"), [("denoise", 1), ("denoise", 3), ("readout", 1)])
def test_an_answer_does_not_depend_on_company_or_order(tiny_model, task, route, ensemble):
    asked = {"route": route, "ensemble": ensemble, "steps": 2}
    together = tiny_model.predict(queries(), task, **asked)
    backwards = tiny_model.predict(queries()[::-1], task, batch=2, **asked)[::-1]
    alone = [tiny_model.predict(query, task, **asked) for query in queries()]
    for one, other, third in zip(together, backwards, alone, strict=True):
        assert_same(one, other)
        assert_same(one, third)


def test_the_seed_and_the_key_decide_the_noise(tiny_model):
    query = queries()[0]
    first = tiny_model.predict(query, "depth")
    assert_same(first, tiny_model.predict(query, "depth", seed=0), atol=0)
    assert differ(first, tiny_model.predict(query, "depth", seed=1))
    assert differ(first, tiny_model.predict(Query(query.image, key="another"), "depth"))
    reading = tiny_model.predict(query, "depth", route="readout")
    assert not differ(reading, tiny_model.predict(query, "depth", route="readout", seed=1))


def test_the_global_generator_is_neither_used_nor_moved(tiny_model):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = tiny_model.predict(queries()[0], "depth")
    assert torch.equal(torch.rand(3), expected)
    assert_same(first, tiny_model.predict(queries()[0], "depth"), atol=0)


def test_words_matter_where_they_are_given(tiny_model):
    query = Query(picture(), text="the red ball", key="a")
    assert tiny_model.predict(query, "depth").query.text == "the red ball"
    assert tiny_model.predict(query, "depth", prompt="the box").query.text == "the box"
    assert tiny_model.predict(picture(), "depth", prompt="the box").query.text == "the box"


# ---- steps, ensembles, trajectories ----


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("sampler", ["ddim", "euler"])
def test_a_trajectory_has_every_step_and_ends_in_the_answer(tiny_model, task, sampler):
    asked = {"steps": 4, "sampler": sampler, "trajectory": True}
    prediction = tiny_model.predict(picture(0, 17, 23), task, **asked)
    assert len(prediction.trajectory) == 4
    assert {type(stage) for stage in prediction.trajectory} == {KINDS[task]}
    assert {stage.size for stage in prediction.trajectory} == {(17, 23)}
    for name, tensor in prediction.annotation.tensors().items():
        torch.testing.assert_close(prediction.trajectory[-1].tensors()[name], tensor, rtol=0, atol=1e-5)
    first, last = (prediction.trajectory[i].tensors() for i in (0, -1))
    assert any(not torch.equal(first[name], last[name]) for name in first)


def test_steps_default_to_the_models_own(tiny_model):
    assert tiny_model.predict(picture(), "depth").settings["steps"] == 3
    assert tiny_model.predict(picture(), "depth", steps=5).settings["steps"] == 5
    assert tiny_model.predict(picture(), "depth", route="readout").settings["steps"] == 1
    assert_same(tiny_model.predict(picture(), "depth"), tiny_model.predict(picture(), "depth", steps=3), atol=0)


@pytest.mark.parametrize("task", KINDS)
def test_an_ensemble_tells_how_unsure_it_is(tiny_model, task):
    prediction = tiny_model.predict(picture(0, 17, 23), task, ensemble=3, steps=1)
    assert prediction.settings["ensemble"] == 3
    assert prediction.uncertainty.shape == (17, 23)
    assert prediction.uncertainty.min() >= 0 and prediction.uncertainty.max() <= 1
    assert prediction.uncertainty.std() > 0
    assert tiny_model.predict(picture(), task, ensemble=1).uncertainty is None


def test_numbers_of_instances_cannot_be_merged(tiny_model):
    with pytest.raises(UsageError, match="'instances'; use --ensemble 1"):
        tiny_model.predict(picture(), "instances", ensemble=2, steps=1)


def test_what_is_no_number_is_not_read_out(make_parts):
    parts = make_parts()
    torch.nn.init.constant_(next(p for name, p in parts.heads.named_parameters() if "normals" in name), torch.inf)
    with pytest.raises(DenoisightError, match="NaN or infinity in torch.float32; try --precision"):
        Model(parts).predict(picture(), "normals", route="readout")


def test_the_first_member_of_an_ensemble_is_the_single_answer(tiny_model):
    """So that more members refine an answer rather than replace it."""
    single = tiny_model.predict(picture(), "normals", steps=1)
    several = tiny_model.predict(picture(), "normals", steps=1, ensemble=3)
    torch.testing.assert_close(several.latent, single.latent, rtol=0, atol=1e-5)


def test_the_latent_is_the_canvas_of_the_answer(tiny_model):
    prediction = tiny_model.predict(picture(), "normals", res=0)
    canvas = tiny_model.parts.backbone.latents.decode(prediction.latent[None])[0]
    (task, _) = tiny_model.task("normals")
    torch.testing.assert_close(task.codec.decode(canvas, picture()).vectors, prediction.annotation.vectors)


@pytest.mark.parametrize("route", ROUTES)
def test_answers_carry_no_graph(tiny_model, route):
    prediction = tiny_model.predict(picture(), "depth", route=route, steps=1)
    assert not prediction.annotation.values.requires_grad


# ---- what images may be ----


@pytest.fixture(scope="module")
def as_files(tmp_path_factory):
    """One picture in every form in which it may come."""
    pixels = (picture().permute(1, 2, 0) * 255).round().byte().numpy()
    path = tmp_path_factory.mktemp("pictures") / "street.png"
    Image.fromarray(pixels).save(path)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    return {
        "path": path,
        "text": str(path),
        "pil": Image.fromarray(pixels),
        "numpy": pixels,
        "tensor": tensor,
        "query": Query(tensor),
    }


@pytest.mark.parametrize("form", ["path", "text", "pil", "numpy", "tensor", "query"])
def test_images_come_in_many_forms(tiny_model, as_files, form):
    expected = tiny_model.predict(Query(as_files["tensor"], key="k"), "normals", route="readout")
    prediction = tiny_model.predict(as_files[form], "normals", route="readout")
    assert prediction.query.key == ("street" if form in ("path", "text") else "000000")
    torch.testing.assert_close(prediction.annotation.vectors, expected.annotation.vectors)
    assert len(tiny_model.predict([as_files[form]] * 2, "normals", route="readout")) == 2


def test_forms_may_be_mixed_and_keys_count_on(tiny_model, as_files):
    forms = [as_files["numpy"], as_files["path"], as_files["tensor"]]
    predictions = tiny_model.predict(forms, "depth", steps=1)
    assert [p.query.key for p in predictions] == ["000000", "street", "000002"]
    assert as_query(as_files["pil"], 7, "words").text == "words"


def test_grey_pictures_are_taken(tiny_model):
    grey = np.full((24, 32), 128, np.uint8)
    prediction = tiny_model.predict(grey, "depth", route="readout")
    assert prediction.query.image.shape == (3, 24, 32)
    torch.testing.assert_close(prediction.query.image, torch.full((3, 24, 32), 128 / 255))


def test_a_file_that_is_no_picture_is_named(tiny_model, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    for path in (tmp_path / "notes.png", tmp_path / "nowhere.png"):
        with pytest.raises(DataError, match=path.name):
            tiny_model.predict(path, "depth")


# ---- refusals ----


@pytest.mark.parametrize("asked", [{"task": "dpeth"}, {"task": "depth", "route": "denoise"}])
def test_what_was_not_learnt_is_refused_with_what_was(make_parts, tiny_config, asked):
    reader = Model(make_parts(denoises=(), reads=tiny_config.reads[:2]))
    with pytest.raises(
        UsageError, match=r"'tiny' cannot predict.*depth \(readout\), normals \(readout\).*train"
    ) as caught:
        reader.predict(picture(), **asked)
    assert caught.value.exit_code == 2
    assert reader.predict(picture(), "depth").settings["route"] == "readout"
    assert reader.tasks == ("depth", "normals")


def test_a_model_of_nothing_says_so(make_parts):
    with pytest.raises(UsageError, match="learnt nothing"):
        Model(make_parts(denoises=(), reads=())).predict(picture(), "depth")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": -1}, "steps"),
        ({"steps": 5000}, "5000 steps"),
        ({"ensemble": 0}, "ensemble"),
        ({"batch": 0}, "batch"),
        ({"res": -8}, "res"),
        ({"sampler": "dimd"}, "Did you mean 'ddim'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny_model, asked, says):
    with pytest.raises(UsageError, match=says):
        tiny_model.predict(picture(), "depth", **asked)


def test_streams_take_the_same_options(tiny_model):
    options = Options(steps=2, seed=4, batch=2)
    streamed = list(tiny_model.stream(queries(), "depth", options))
    for one, other in zip(streamed, tiny_model.predict(queries(), "depth", steps=2, seed=4), strict=True):
        assert_same(one, other)


# ---- precision, saving, loading ----


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_answers_nearly_alike(make_parts, tiny_model, route, dtype):
    half = Model(make_parts()).to("cpu", dtype)
    asked = {"route": route, "steps": 2}
    prediction = half.predict(queries()[0], "depth", **asked)
    assert prediction.annotation.values.dtype == torch.float32
    expected = tiny_model.predict(queries()[0], "depth", **asked)
    assert (prediction.annotation.values - expected.annotation.values).abs().mean() < 0.05


@pytest.mark.parametrize("name", [".", "run"])
def test_a_saved_model_answers_as_before(tiny_model, tmp_path, name):
    folder = tmp_path / "model" if name == "." else tmp_path / "run" / "model"
    tiny_model.save_pretrained(folder, card="# tiny", provenance={"seed": 3})
    opened = load(folder if name == "." else tmp_path / "run", "cpu")
    assert opened.name == "tiny" and opened.tasks == tiny_model.tasks
    assert opened.parts.config.provenance == {"seed": 3}
    assert opened.weights_hash == tiny_model.weights_hash
    for route in ROUTES:
        asked = {"task": "semantic", "route": route}
        assert_same(opened.predict(queries()[0], **asked), tiny_model.predict(queries()[0], **asked), atol=0)


def test_hashes_tell_weights_apart(make_parts, tiny_model):
    assert Model(make_parts()).weights_hash == tiny_model.weights_hash
    assert Model(make_parts(seed=1)).weights_hash != tiny_model.weights_hash


@pytest.mark.parametrize("name", ["nowhere", "sd-9", "./owner/name", ""])
def test_a_model_that_is_not_there_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="expected 'embedded' or 'embedded-create', a folder") as caught:
        load(name)
    assert caught.value.exit_code == 5 and isinstance(caught.value, DenoisightError)


# ---- what was once wrong ----


def test_precision_can_be_raised_again(make_parts):
    model = Model(make_parts()).to("cpu", "bf16").to("cpu", "fp32")
    assert {p.dtype for p in model.parts.modules().parameters()} == {torch.float32}
    with pytest.raises(UsageError, match="bf16"):
        model.to("cpu", "half")


def test_bytes_are_scaled(tiny_model):
    image = (picture() * 255).round().byte()
    assert tiny_model.predict(image, "depth", steps=1).query.image.max() <= 1


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3)), torch.rand(2, 3, 8, 8)], ids=["floats", "batch"])
def test_other_arrays_are_refused_in_words(tiny_model, image):
    with pytest.raises(UsageError, match="came; give"):
        tiny_model.predict(image, "depth")


def test_answers_can_be_worked_on(tiny_model):
    values = tiny_model.predict(picture(), "depth", steps=1).annotation.values
    weight = torch.ones(1, requires_grad=True)
    (weight * values).sum().backward()
    torch.testing.assert_close(weight.grad, values.sum()[None])


def test_one_pass_has_one_member(tiny_model):
    assert tiny_model.predict(picture(), "depth", route="readout", ensemble=4).settings["ensemble"] == 1


def test_a_task_takes_its_own_number_of_steps_unless_told(make_parts) -> None:
    parts = make_parts(steps=3)
    entries = tuple(e.model_copy(update={"steps": 1 if e.name == "depth" else None}) for e in parts.config.denoises)
    model = Model(parts.with_config(denoises=entries))
    assert (model.steps("depth"), model.steps("normals")) == (1, 3)
    query = Query(torch.rand(3, 32, 32), key="a")
    for task, asked, taken in (("depth", None, 1), ("depth", 2, 2), ("normals", None, 3)):
        assert model.predict(query, task, steps=asked).settings["steps"] == taken


def test_mirrored_answers_are_of_both_images_and_of_features_alone(tiny_model):
    query = Query(torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0)), "", "k")
    mirrored = tiny_model.predict(query, "normals", route="readout", mirror=True)
    assert mirrored.settings["mirror"] is True
    turned = tiny_model.predict(query.flip(), "normals", route="readout", mirror=True).annotation.flip()
    torch.testing.assert_close(mirrored.annotation.vectors, turned.vectors, rtol=0, atol=2e-5)
    alone = tiny_model.predict(query, "normals", route="readout")
    assert "mirror" not in alone.settings and differ(alone, mirrored)
    with pytest.raises(UsageError, match="mirror images are for what is read out"):
        tiny_model.predict(query, "normals", route="denoise", mirror=True)
