"""A model as a folder: what was saved is what opens, and what is damaged is named."""

import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel

from denoisight.errors import WeightsError
from denoisight.models.folder import assemble, open_folder, read_config, save
from denoisight.tasks import make_tasks

UNET = "unet/diffusion_pytorch_model.safetensors"
WEIGHTS = [UNET, "text.safetensors", "heads.safetensors"]
HEADS = {task.name: task.head.channels for task in make_tasks("all", ("floor", "wall", "box", "ball"))}


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def saved(tiny_parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(tiny_parts, folder, card="# tiny\n")
    return folder


@pytest.fixture
def damaged(saved, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(saved, tmp_path / "copy")


def change_config(folder, **changes):
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**content, **changes}))


def test_weights_and_configuration_come_back_bit_for_bit(tiny_parts, saved):
    opened = open_folder(saved, HEADS)
    assert opened.config == tiny_parts.config == read_config(saved)
    before, after = tiny_parts.modules().state_dict(), opened.modules().state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for part in opened.modules().values() for module in part.modules())
    assert (saved / "README.md").read_text() == "# tiny\n"


@torch.no_grad()
def test_an_opened_model_answers_bit_for_bit(tiny_parts, saved):
    opened = open_folder(saved, HEADS)
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    answers = []
    for parts in (tiny_parts, opened):
        cond = parts.backbone.condition(images, ["depth", "surface normals"])
        level = parts.backbone.schedule.at(torch.tensor([0, 700]))
        features = parts.taps(cond.image, level, cond)
        answers.append([parts.backbone(cond.image, level, cond), *parts.heads(features, images, list(HEADS)).values()])
    assert all(map(torch.equal, *answers))


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_half_precision_is_half_the_size_and_close(tiny_parts, saved, tmp_path, dtype, relative):
    save(tiny_parts, tmp_path / "half", dtype=dtype)
    for name in WEIGHTS:
        assert (tmp_path / "half" / name).stat().st_size < 0.6 * (saved / name).stat().st_size
    opened = open_folder(tmp_path / "half", HEADS).modules().state_dict()
    for name, weights in tiny_parts.modules().state_dict().items():
        assert opened[name].dtype == torch.float32
        torch.testing.assert_close(opened[name], weights, rtol=relative, atol=1e-6)


def test_diffusers_opens_the_network(tiny_parts, saved):
    unet = UNet2DConditionModel.from_pretrained(saved / "unet")
    ours = tiny_parts.backbone.unet.state_dict()
    assert all(torch.equal(weights, ours[name]) for name, weights in unet.state_dict().items())


def test_a_model_without_heads_has_no_file_for_them(tiny_config, tmp_path):
    parts = assemble(tiny_config.model_copy(update={"reads": ()}))
    save(parts, tmp_path / "m")
    assert not (tmp_path / "m" / "heads.safetensors").exists()
    assert open_folder(tmp_path / "m").heads is None


# ---- what is damaged ----


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if how == "truncated" else b"")


@pytest.mark.parametrize("how", ["missing", "truncated", "empty"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_damaged_weights_are_named(damaged, name, how):
    damage(damaged / name, how)
    with pytest.raises(WeightsError, match=f"{name}.*missing, damaged") as caught:
        open_folder(damaged, HEADS)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("name", "network"),
    [(UNET, {"widths": [32, 64]}), (UNET, {"layers": 2}), ("text.safetensors", {"text_length": 12})],
)
def test_weights_of_another_network_are_refused(damaged, tiny_config, name, network):
    change_config(damaged, network={**tiny_config.network.model_dump(), **network})
    with pytest.raises(WeightsError, match=f"{name}.*of another model"):
        open_folder(damaged, HEADS)


def test_heads_of_another_task_are_refused(saved):
    with pytest.raises(WeightsError, match="heads.safetensors.*of another model"):
        open_folder(saved, {**HEADS, "semantic": 7})


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"name": 3}', '{"name": "x", "format": 2}', '{"name": "x", "colour": "red"}', b"\xff\xfe"],
    ids=["empty", "cut", "list", "null", "wrong type", "later format", "unknown key", "no text"],
)
def test_a_configuration_that_is_none_is_named(damaged, content):
    (damaged / "model.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WeightsError, match="model.json cannot be read as a model of format 1") as caught:
        open_folder(damaged, HEADS)
    assert caught.value.exit_code == 5


def test_an_unknown_key_is_told(damaged):
    change_config(damaged, colour="red")
    with pytest.raises(WeightsError, match="colour"):
        open_folder(damaged, HEADS)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "nope"},
        {"predicts": "eps", "schedule": "flow"},
        {"network": {"widths": [10, 20]}},
    ],
    ids=["schedule", "prediction", "widths"],
)
def test_a_configuration_that_cannot_be_built_is_named(damaged, changes):
    change_config(damaged, **changes)
    with pytest.raises(WeightsError, match="model.json"):
        open_folder(damaged, HEADS)


def test_a_folder_of_something_else_is_told_so(tmp_path):
    with pytest.raises(WeightsError, match="no model.json") as caught:
        open_folder(tmp_path)
    assert caught.value.exit_code == 5


# ---- saving ----


@pytest.mark.parametrize("before", [False, True], ids=["new", "over an old one"])
def test_saving_that_fails_leaves_everything_as_it_was(tiny_parts, saved, tmp_path, before):
    folder = tmp_path / "m"
    if before:
        shutil.copytree(saved, folder)
    with pytest.raises(UnicodeEncodeError):
        save(tiny_parts, folder, card="a card that no file can hold: \ud800")  # written after all weights
    assert [p.name for p in tmp_path.iterdir()] == (["m"] if before else [])
    if before:
        assert files(folder) == files(saved)


def test_saving_over_an_old_model_leaves_nothing_of_it(tiny_parts, saved, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "stale.safetensors").write_text("old")
    save(tiny_parts, folder, card="# tiny\n")
    assert files(folder) == files(saved)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
