"""Models from the hub: folders here act as its repositories, and are copied into a real cache."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelInfo, constants, errors
from safetensors.torch import load_file, save_file

from denoisight.cli import main
from denoisight.errors import WeightsError
from denoisight.models.files import again, choose, snapshot_of
from denoisight.models.known import KNOWN, find_source
from denoisight.predict.load import load
from oracles.stock_folders import stock_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SECOND, THIRD = KNOWN["sd-1.5"].mirrors[1:]
GONE = "runwayml/stable-diffusion-v1-5"
CACHED = huggingface_hub.snapshot_download
UNET = "unet/diffusion_pytorch_model.safetensors"


class Hub:
    """`folders` are the repositories by id; `refuses` raises in place of an answer; `cut_off` breaks the line after
    so many files."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.folders: dict[str, Path] = {}
        self.cards: dict[str, dict[str, str]] = {}
        self.refuses: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.revisions: set[str | None] = set()
        self.cut_off = 10**6
        self.before_weights: Callable[[], None] = lambda: None

    def model_info(self, repo_id, *, revision=None, timeout=None, files_metadata=False):
        assert files_metadata and timeout
        self.asked.append(repo_id)
        sizes = self._sizes(repo_id, revision)
        files = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        return ModelInfo(id=repo_id, sha=COMMIT, tags=[], siblings=files, cardData=self.cards.get(repo_id))

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns=None, local_files_only=False):
        if local_files_only:
            return CACHED(repo_id, revision=revision, allow_patterns=allow_patterns, local_files_only=True)
        self.asked.append(repo_id)
        if any("safetensors" in pattern for pattern in allow_patterns):
            self.before_weights()
        sizes = self._sizes(repo_id, revision)
        store = self.cache / f"models--{repo_id.replace('/', '--')}"
        for name, text in (
            (f"refs/{revision or 'main'}", COMMIT),
            (f"trees/{COMMIT}.json", json.dumps({"format_version": 1, "files": self._tree(sizes)})),
        ):
            (store / name).parent.mkdir(parents=True, exist_ok=True)
            (store / name).write_text(text)
        for name in list(huggingface_hub.utils.filter_repo_objects(sizes, allow_patterns=allow_patterns)):
            if self.cut_off == 0:
                raise ConnectionError("connection reset by peer\nby a router")
            self.cut_off -= 1
            link, blob = store / "snapshots" / COMMIT / name, store / "blobs" / name.replace("/", "-")
            if not link.exists():
                for path in (link, blob):
                    path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.folders[repo_id] / name, blob)
                link.symlink_to(blob)
        return str(store / "snapshots" / COMMIT)

    def arrived(self, repo_id: str = SD) -> set[str]:
        folder = self.cache / f"models--{repo_id.replace('/', '--')}" / "snapshots" / COMMIT
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    def _sizes(self, repo_id: str, revision: str | None) -> dict[str, int]:
        self.revisions.add(revision)
        if repo_id in self.refuses:
            raise self.refuses[repo_id]
        if repo_id not in self.folders:
            raise refusal(errors.RepositoryNotFoundError, 404)
        if revision not in (None, "main", "v1", COMMIT):
            raise refusal(errors.RevisionNotFoundError, 404)
        folder = self.folders[repo_id]
        return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}

    @staticmethod
    def _tree(sizes: dict[str, int]) -> dict[str, dict[str, object]]:
        return {name: {"size": size, "blob_id": "0"} for name, size in sizes.items()}


def refusal(kind: type[Exception], status: int) -> Exception:
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    return kind(f"{status} Client Error.\n\nA long explanation.", response=response)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("remote")
    return {kind: stock_folder(base / kind, kind) for kind in ("create", "depth")}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    hub = Hub(tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "model_info", hub.model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub.cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return hub


@pytest.fixture
def copied(folders, tmp_path) -> Path:
    """A Stable Diffusion folder to change."""
    return shutil.copytree(folders["create"], tmp_path / "copied")


def to_pickles(folder: Path) -> Path:
    """The same weights in `.bin` files alone."""
    for path in folder.rglob("*.safetensors"):
        name = "pytorch_model.bin" if path.parent.name == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(path), path.with_name(name))
        path.unlink()
    return folder


def refused(name: str, **options) -> str:
    with pytest.raises(WeightsError) as caught:
        load(name, "cpu", **options)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 5
    return str(caught.value)


# ---- what is opened ----


@pytest.mark.parametrize("name", [SD, f"{SD}@v1", f"{SD}@{COMMIT}", "sd-1.5", "sd-1.5@main", GONE])
def test_ids_known_names_and_addresses_that_are_gone_open(hub, folders, name):
    hub.folders[SD] = folders["create"]
    model = load(name, "cpu")
    assert model.weights_hash == load(folders["create"], "cpu").weights_hash
    assert model.name == "stable-diffusion-v1-5"
    assert set(hub.asked) == {SD}


def test_a_revision_is_the_one_that_comes(hub, folders):
    hub.folders[SD] = folders["create"]
    load(f"{SD}@v1", "cpu")
    assert hub.revisions == {"v1"}
    assert "has no revision 'v7'" in refused(f"{SD}@v7")


def test_only_what_is_opened_comes(hub, folders, copied):
    wanted = {str(p.relative_to(copied)) for p in copied.rglob("*") if p.is_file()} - {"README.md"}
    for name in (
        "v1-5-pruned.ckpt", "v1-5-pruned.safetensors", "README.md", "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors",
        "text_encoder/pytorch_model.bin", "safety_checker/model.safetensors", "vae/diffusion_flax_model.msgpack",
    ):  # fmt: skip
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_bytes(b"not opened")
    hub.folders[SD] = copied
    load(SD, "cpu")
    assert {UNET, "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"} <= wanted
    assert hub.arrived() == wanted


def test_a_model_that_we_saved_opens_from_the_hub_too(hub, tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "saved", card="# tiny")
    hub.folders["me/tiny"] = tmp_path / "saved"
    assert load("me/tiny", "cpu").weights_hash == tiny_model.weights_hash
    shutil.rmtree(tmp_path / "saved")
    assert load("me/tiny", "cpu").tasks == tiny_model.tasks


def test_a_folder_of_that_name_goes_before_the_hub(hub, folders):
    shutil.copytree(folders["depth"], SD)
    assert load(SD, "cpu").tasks == ("depth",)
    assert not hub.asked


def test_the_embedded_model_needs_no_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "denoisight.models.hub", None)
    assert load("embedded", "cpu").name
    with pytest.raises(ImportError):
        load(SD)


@pytest.mark.parametrize("variant", ["fp16", "ema"])
def test_a_variant_is_taken_where_there_is_nothing_else(copied, folders, variant):
    for path in copied.rglob("*.safetensors"):
        save_file({k: v.half() for k, v in load_file(path).items()}, path.with_suffix(f".{variant}.safetensors"))
        path.unlink()
    model, whole = load(copied, "cpu"), load(folders["create"], "cpu")
    for name, weights in model.parts.backbone.state_dict().items():
        assert weights.dtype == torch.float32
        torch.testing.assert_close(weights, whole.parts.backbone.state_dict()[name], rtol=1e-2, atol=1e-3)


# ---- licences, mirrors, the cache ----


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ({"license": "mit"}, "mit"),
        ({"license": "other", "license_name": "own-terms"}, "own-terms"),
        (None, "creativeml-openrail-m"),
    ],
)
def test_the_licence_is_told_before_anything_is_downloaded(hub, folders, caplog, card, licence):
    hub.folders[SD], hub.cards = folders["create"], {SD: card} if card else {}
    told = []
    hub.before_weights = lambda: told.append(caplog.text)
    load("sd-1.5", "cpu")
    (before,) = told
    assert f"Downloading sd-1.5 from {SD}: licence {licence}, about " in before
    # 0.1 M parameters and the tokenizer: the sum of the files, not of the repository.
    size = sum(p.stat().st_size for p in folders["create"].rglob("*") if p.name != "README.md" and p.is_file())
    assert f"about {round(size / 1e6)} MB" in before
    caplog.clear()
    load("sd-1.5", "cpu")
    assert "licence" not in caplog.text


def test_the_licence_is_seen_where_no_logging_was_set_up(hub, folders, caplog):
    hub.folders["a/b"] = folders["create"]
    load("a/b", "cpu")
    (line,) = [record for record in caplog.records if "licence" in record.message]
    assert line.levelname == "WARNING" and "licence not stated" in line.message


@pytest.mark.parametrize("trouble", ["gone", "slow", "gated", "pickles"])
def test_the_second_mirror_is_taken_where_the_first_fails(hub, folders, copied, trouble):
    hub.folders[SECOND] = folders["create"]
    if trouble == "slow":
        hub.refuses[SD] = TimeoutError("timed out")
    elif trouble == "gated":
        hub.refuses[SD] = refusal(errors.GatedRepoError, 403)
    elif trouble == "pickles":
        hub.folders[SD] = to_pickles(copied)
    assert load("sd-1.5", "cpu").weights_hash == load(folders["create"], "cpu").weights_hash
    assert hub.asked[0] == SD and not hub.arrived(SD) and UNET in hub.arrived(SECOND)


def test_where_all_mirrors_fail_each_is_told(hub):
    hub.refuses[SECOND] = refusal(errors.GatedRepoError, 403)
    message = refused("sd-1.5")
    assert re.search(f"'sd-1.5'.*{SD} is unknown or private.*; {SECOND} is gated.*; {THIRD} is unknown", message)
    assert hub.asked == [SD, SECOND, THIRD]
    assert not hub.cache.exists()


@pytest.mark.parametrize("where", [SD, THIRD, GONE])
@pytest.mark.parametrize("offline", [True, False])
def test_a_cached_snapshot_opens_without_a_question(hub, folders, monkeypatch, where, offline):
    hub.folders[where] = folders["create"]
    hub.snapshot_download(where, allow_patterns=["*"])
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    assert load("sd-1.5", "cpu").weights_hash == load(folders["create"], "cpu").weights_hash
    assert not hub.asked


def test_offline_and_not_cached_is_told(hub, folders, monkeypatch):
    hub.folders[SD] = folders["create"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in (SD, "sd-1.5", GONE, "runs/mine"):
        message = refused(name)
        assert repr(name) in message and "HF_HUB_OFFLINE is set; unset it" in message
    assert not hub.asked and not hub.cache.exists()


# ---- what cannot be had ----


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (refusal(errors.RepositoryNotFoundError, 404), "unknown or private: check the spelling, or log in with `hf"),
        (refusal(errors.GatedRepoError, 403), "is gated: accept its terms.*`hf auth login` or set HF_TOKEN"),
        (refusal(errors.HfHubHTTPError, 503), "503 Client Error.*try again"),
        (TimeoutError("the read operation timed out"), "timed out.*try again"),
        (errors.HTTPError("name resolution failed\nfor a host"), "name resolution failed"),
        (ConnectionError(), "ConnectionError"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("Xet: broken chunk"), "broken chunk"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_why_the_hub_does_not_help_is_told_in_one_sentence(hub, trouble, says):
    hub.refuses["owner/name"] = trouble
    message = refused("owner/name")
    assert re.search(f"'owner/name' is no folder here.*owner/name.*{says}", message)
    assert not hub.cache.exists()


def test_a_typo_is_guessed(hub):
    assert f"did you mean {SD!r}?" in refused("stable-difusion-v1-5/stable-diffusion-v1-5")
    assert "did you mean" not in refused("someone/something")
    assert "is neither a folder here nor a hub id" in refused("a--b/c")
    assert "sd-1.5" in refused("sd-1.6")


def test_what_is_no_model_of_ours_is_refused_before_its_weights_come(hub, copied):
    hub.folders["a/single"] = copied.parent / "single"
    hub.folders["a/single"].mkdir()
    (hub.folders["a/single"] / "model.safetensors").write_bytes(b"x")
    assert "a/single holds neither model_index.json nor model.json" in refused("a/single")
    index = copied / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionXLPipeline"))
    hub.folders["a/xl"] = copied
    assert "StableDiffusionXLPipeline, which denoisight does not open" in refused("a/xl")
    assert hub.arrived("a/single") == set() and hub.arrived("a/xl") == {"model_index.json"}


def test_a_download_that_is_cut_off_goes_on(hub, folders, monkeypatch):
    hub.folders[SD], hub.cut_off = folders["create"], 4
    assert "connection reset by peer" in refused(SD)
    assert 0 < len(hub.arrived()) < 8 and UNET not in hub.arrived()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused(SD)
    assert re.search(rf"{COMMIT}/\w+ (holds no|is missing)|is missing or damaged", message) and "hf download" in message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.cut_off = 100
    assert load(SD, "cpu").weights_hash == load(folders["create"], "cpu").weights_hash


@pytest.mark.parametrize(
    "name", ["vae/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json", "unet/config.json"]
)
def test_a_file_that_is_missing_from_the_cache_comes_again(hub, folders, monkeypatch, name):
    hub.folders[SD] = folders["create"]
    load(SD, "cpu")
    lost = hub.cache / f"models--{SD.replace('/', '--')}" / "snapshots" / COMMIT / name
    lost.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused(SD)
    assert str(lost.parent) in message and f"hf download {SD} " in message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load(SD, "cpu")
    assert lost.exists()


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_a_truncated_file_is_named_with_the_command_that_gets_it_again(hub, folders, size):
    hub.folders[SD] = folders["create"]
    load(SD, "cpu")
    path = hub.cache / f"models--{SD.replace('/', '--')}" / "snapshots" / COMMIT / UNET
    os.truncate(path, size)
    message = refused(SD)
    assert f"{path} is truncated" in message
    assert f"hf download {SD} {UNET} --revision {COMMIT} --force-download" in message


# ---- pickles ----


def test_pickles_are_opened_only_when_allowed(hub, folders, copied):
    hub.folders["a/pickled"] = to_pickles(copied)
    for name in (str(copied), "a/pickled"):
        message = refused(name)
        assert "unet holds only pickles" in message and "--allow-pickle" in message
    assert not hub.cache.exists()
    for name in (copied, "a/pickled"):
        assert load(name, "cpu", allow_pickle=True).weights_hash == load(folders["create"], "cpu").weights_hash
    assert {Path(name).suffix for name in hub.arrived("a/pickled")} == {".json", ".bin"}


def test_safetensors_go_before_pickles_even_when_those_are_allowed(hub, folders, copied):
    (copied / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"no pickle")
    assert load(copied, "cpu", allow_pickle=True).weights_hash == load(folders["create"], "cpu").weights_hash


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"])
def test_code_in_a_pickle_is_not_run(copied, tmp_path, name):
    sprung = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()
    sprung.rmdir()
    to_pickles(copied)
    torch.save({"weights": Trap(sprung)}, copied / name)
    refused(str(copied))
    assert str((copied / name).parent) in refused(str(copied), allow_pickle=True)
    assert not sprung.exists()


# ---- the parts ----


@pytest.mark.parametrize(
    ("names", "taken", "variant"),
    [
        (["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"], ["model.safetensors"], None),
        (["model.fp16.safetensors", "model.bf16.safetensors"], ["model.fp16.safetensors"], "fp16"),
        (["model.non_ema.safetensors", "pytorch_model.bin"], ["model.non_ema.safetensors"], "non_ema"),
        (["openvino_model.bin", "model.onnx", "pytorch_model.bin"], ["pytorch_model.bin"], None),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], 2, None),
        (["model.fp16-00001-of-00001.safetensors", "model-00001-of-00002.safetensors"], 1, "fp16"),
    ],
)
def test_which_weights_are_taken(names, taken, variant):
    chosen = choose("unet", names, True, "copy it again")
    assert chosen.variant == variant
    if isinstance(taken, int):
        assert len(chosen.names) == taken
    else:
        assert list(chosen.names) == taken


@pytest.mark.parametrize("names", [[], ["config.json"], ["model-00001-of-00002.safetensors"], ["model.ckpt"]])
def test_no_whole_weights_are_told(names):
    with pytest.raises(WeightsError, match="unet holds no whole weights.*; copy it again"):
        choose("unet", names, True, "copy it again")


def test_how_to_get_a_file_again():
    cached = Path(f"/c/models--own--er--name/snapshots/{COMMIT}")
    assert snapshot_of(cached) == snapshot_of(cached / "unet" / "x") == ("own/er--name", COMMIT)
    assert snapshot_of(Path("models/snapshots/x")) is None
    assert again(cached / "vae").startswith('get it again with: hf download own/er--name --include "vae/*"')
    assert again(Path("folder/vae")) == "download or copy it again"


def test_known_names_are_frozen_values_with_a_licence_and_mirrors():
    assert {"sd-1.5", "sd-2.1", "marigold-depth", "marigold-normals", "instruct-pix2pix"} <= set(KNOWN)
    for name, source in KNOWN.items():
        assert source.name == name and source.licence and source.mirrors
        assert not set(source.gone) & set(source.mirrors)
        for address in (*source.mirrors, *source.gone):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", address)
        for address in (name, *source.gone):
            assert find_source(f"{address}@v1").mirrors == source.mirrors
        with pytest.raises(FrozenInstanceError):
            source.licence = "mit"


@pytest.mark.parametrize(
    "name", ["nowhere", "", "/a/b", "./a/b", "../a", "~/a", "a/b/c", "a/b@", "a b/c", "runs/mine/"]
)
def test_what_is_no_id(name):
    assert find_source(name) is None


# ---- the command line ----


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "photo.png", "-o", "out"],
        ["create", "--prompt", "ab", "-o", "out"],
        ["evaluate", "--protocol", "scenes/val", "-o", "out"],
        ["train", "depth", "--data", "scenes:8", "-o", "out"],
    ],
    ids=lambda words: words[0],
)
def test_the_commands_exit_with_5_and_write_nothing(hub, copied, capsys, words):
    from PIL import Image

    Image.new("RGB", (16, 16)).save("photo.png")
    hub.folders["a/pickled"] = to_pickles(copied)

    def call(*more: str) -> str:
        with pytest.raises(SystemExit) as left:
            main([*words, *more])
        assert left.value.code == 5
        return capsys.readouterr().err

    assert "'no/body' is no folder here" in call("--model", "no/body")
    assert "--allow-pickle" in call("--model", "a/pickled")
    # Allowed, it gets further: to a file that is damaged.
    (copied / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"no pickle")
    assert "holds no whole UNet2DConditionModel" in call("--model", "a/pickled", "--allow-pickle")
    assert not Path("out").exists()


def test_what_is_left_out_of_help_until_it_is_needed():
    code = "import sys\nfrom denoisight.cli import main\ntry: main(['predict', '--help'])\nexcept SystemExit: pass\n"
    code += "assert 'huggingface_hub' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--allow-pickle" in done.stdout
