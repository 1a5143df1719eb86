"""`denoisight judge` on a tiny model and small folders: what it writes, what it refuses."""

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from denoisight.annotations import Depth, Query, Sample
from denoisight.cli import main
from denoisight.create.annotate import Annotating
from denoisight.create.engines import make_locally
from denoisight.create.filters import Filters
from denoisight.create.folder import pairs_folder
from denoisight.create.pairs import Maker
from denoisight.create.variation import Variation
from denoisight.data.export import export
from denoisight.data.open import open_data, open_pictures, subset
from denoisight.data.paired import write_pairs
from denoisight.data.view import View
from denoisight.errors import DataError, UsageError
from denoisight.evaluate.creation_results import CreationResult
from denoisight.evaluate.features import Features
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.recipes.creation import judge_creation, judge_images

SCENES = 8
TRUTHS = ("depth", "normals")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, make_parts) -> Path:
    """created/ (with two copies of training images), real/, train/, bare/ (pictures alone) and a model."""
    root = tmp_path_factory.mktemp("judge")
    parts = {split: subset(open_data(f"scenes:{SCENES}", split, size=(32, 32)), range(SCENES))
             for split in ("train", "val", "test")}  # fmt: skip
    samples = {split: [reader[i].only(TRUTHS) for i in range(SCENES)] for split, reader in parts.items()}
    write_pairs(samples["test"], root / "real" / "test")
    write_pairs(samples["train"], root / "train" / "train")
    write_pairs(samples["val"][6:], root / "train" / "val")
    copied = [Sample(Query(s.image, s.query.text, f"copy-{i}"), s.truths) for i, s in enumerate(samples["train"][:2])]
    write_pairs([*samples["val"][:6], *copied], root / "created")
    shutil.copytree(root / "created" / "rgb", root / "bare")
    Model(make_parts()).save_pretrained(root / "model")
    return root


@pytest.fixture
def judge(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Calls the command; returns what it printed, or what it complained of."""

    def call(created: str, *words: object, code: int = 0) -> str:
        flags = {"--real": folders / "real", "--features": folders / "model", "-o": tmp_path / "out"}
        flags |= dict(zip(words[::2], words[1::2], strict=True))
        asked = [str(word) for flag, value in flags.items() for word in (flag, value)]
        with pytest.raises(SystemExit) as left:
            main(["judge", str(folders / created), *asked, "--quiet"])
        said = capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        return said.err if code else said.out

    return call


def test_it_writes_numbers_and_one_page(judge, folders: Path, tmp_path: Path) -> None:
    said = judge("created", "--train", folders / "train", "--judge", folders / "model", "--task", "depth,normals")
    assert "FID" in said and "depth by tiny: abs_rel" in said
    found = CreationResult.read(tmp_path / "out")
    assert found.created.num_images == found.real.num_images == found.train.num_images == SCENES
    assert {each.truth for each in found.statistics} == set(TRUTHS)
    (seen,) = found.features
    assert {pair.key for pair in seen.copies.nearest[:2]} == {"copy-0", "copy-1"}
    assert seen.copies.nearest[1].ratio < 0.1 < seen.copies.nearest[2].ratio
    assert [answer.task for answer in found.agreement] == ["depth", "normals"]
    assert "rmse" not in found.agreement[0].created and "abs_rel" in found.agreement[0].real
    assert any("n < 2000" in note for note in found.notes)

    with (tmp_path / "out" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SCENES and set(rows[0]) == {"key", "nearest", "ratio", "depth/abs_rel", "normals/mean"}

    page = (tmp_path / "out" / "creation.html").read_text()
    assert "://" not in page.replace("http://www.w3.org", "") and "data:image/png;base64," in page
    for word in ("nearest to", "created label", "worst:", "best:", "Agreement", "octaves"):
        assert word in page


def test_of_many_images_some_are_judged(judge, folders: Path, tmp_path: Path) -> None:
    judge("created", "--train", folders / "train", "--images", 5)
    found = CreationResult.read(tmp_path / "out")
    assert found.created.num_images == found.real.num_images == found.train.num_images == 5
    judge("created", "--images", 0)
    assert CreationResult.read(tmp_path / "out").created.num_images == SCENES


def test_a_judge_is_asked_by_the_route_that_it_has(folders: Path, make_parts, tiny_model: Model) -> None:
    """Which is known before any image is read."""
    made, real = open_pictures(folders / "created"), open_pictures(folders / "real", "test")
    parts = make_parts(reads=())
    denoises = Model(replace(parts, heads=None, taps=None))
    by = {"judge": denoises, "options": Options(route="readout", batch=4)}
    with pytest.raises(UsageError, match="cannot predict 'depth' by readout"):
        judge_images(
            made,
            real,
            None,
            Features("unseen", "none", lambda _: pytest.fail("an image was read")),
            tasks=["depth"],
            **by,
        )
    notes = judge_images(made, real, None, tiny_model, **by).result.notes
    assert any("was not asked for depth" in note for note in notes)


def test_pictures_alone_are_compared_without_labels(judge, tmp_path: Path) -> None:
    judge("bare")
    found = CreationResult.read(tmp_path / "out")
    assert found.statistics == () == found.agreement and found.train is None
    assert found.features[0].created["fid"].value > 0 and found.features[0].copies is None
    assert "Labels" not in (tmp_path / "out" / "creation.html").read_text()


def test_a_users_network_beside_or_in_place_of_the_taps(judge, folders: Path, tmp_path: Path) -> None:
    class Corner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, :4, :4].flatten(1)

    torch.jit.script(Corner()).save(str(tmp_path / "corner.pt"))
    judge("bare", "--inception", tmp_path / "corner.pt")
    assert [each.width for each in CreationResult.read(tmp_path / "out").features] == [128, 48]
    judge("bare", "--inception", tmp_path / "corner.pt", "--features", "none")
    found = CreationResult.read(tmp_path / "out").features
    assert [each.features for each in found] == ["corner.pt"] and found[0].diversity is None


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--task", "saliency"], 3, "no truth 'saliency'"),
        (["--task", "dept"], 2, "Did you mean 'depth'"),
        (["--features", "none"], 2, "no network"),
        (["--real", "scenes:1"], 2, "1 images, but a set to judge needs two"),
        (["--split", "val"], 3, "has nothing in split 'val'"),
        (["--inception", "nowhere.pt"], 5, "nowhere.pt"),
        (["--judge", "/nowhere"], 5, "/nowhere"),
        (["--threads", "-1"], 2, "-1 threads were asked for"),
    ],
)
def test_refusals_are_a_sentence(judge, words: list[str], code: int, says: str, tmp_path: Path) -> None:
    assert says in judge("created", *words, code=code)
    assert not (tmp_path / "out").exists()


def test_studies_get_plain_values(folders: Path, tiny_model: Model) -> None:
    made, real = open_pictures(folders / "created"), open_pictures(folders / "real", "test")
    found = judge_creation(made, real, None, tiny_model, None, ["depth"], seed=3)
    assert json.loads(json.dumps(found)) == found
    assert found["seed"] == 3 and found == judge_creation(made, real, None, tiny_model, None, ["depth"], seed=3)


def test_labels_up_to_a_factor_are_judged_in_ratios_and_up_to_a_shift_not_at_all(
    folders: Path, tiny_model: Model, tmp_path: Path
) -> None:
    made = open_data(folders / "created", "all", ["depth"])
    real = open_data(folders / "real", "test", ["depth"])
    first = judge_creation(made, real, None, tiny_model, tiny_model, ["depth"])["agreement"][0]
    for gauge, factor in (("scale", 0.2), ("affine", 0.02)):
        changed = (
            Sample(made[i].query, {"depth": Depth(made[i].truths["depth"].values * factor,
                                                  made[i].truths["depth"].valid, gauge)})
            for i in range(len(made))
        )  # fmt: skip
        write_pairs(changed, tmp_path / gauge, exact=True)
    scaled = judge_creation(open_pictures(tmp_path / "scale"), real, None, tiny_model, tiny_model)["agreement"][0]
    assert scaled["created"]["abs_rel"]["value"] == pytest.approx(first["created"]["abs_rel"]["value"], rel=1e-3)
    affine = judge_creation(open_pictures(tmp_path / "affine"), real, None, tiny_model, tiny_model)
    assert affine["agreement"] == [] and any("known up to 'affine'" in note for note in affine["notes"])


@pytest.mark.parametrize("write", [make_locally, pairs_folder])
def test_a_judge_that_made_the_labels_is_told_of(folders: Path, make_parts, tmp_path: Path, write) -> None:
    """In shards and folders, and as nothing but the weights tell: a judge of another seed is another."""
    labeller, other = Model(make_parts(creates=True)), Model(make_parts(seed=1, creates=True))
    real = open_data(folders / "real", "test", ["normals"])
    how, mild = Variation(1, steps=1), Filters(min_distance=0, min_valid=0, empty=False)
    write(Maker(labeller, real, how, Annotating(("normals",), "readout"), mild, "none"), tmp_path / "created", 4)
    made = open_data(tmp_path / "created", "all")
    few = subset(made, 3)
    for judge, created, told in ((labeller, made, 1), (labeller, few, 1), (other, made, 0), (labeller, real, 0)):
        notes = judge_creation(created, real, None, labeller, judge, ["normals"])["notes"]
        assert sum("judges labels that the same weights made" in note for note in notes) == told


def test_whether_kid_tells_the_sets_apart_is_a_note(judge, folders: Path, tmp_path: Path) -> None:
    judge("bare")
    assert not any("KID intervals" in note for note in CreationResult.read(tmp_path / "out").notes)
    judge("bare", "--train", folders / "train")
    (note,) = [note for note in CreationResult.read(tmp_path / "out").notes if "KID intervals" in note]
    assert note in (tmp_path / "out" / "creation.html").read_text()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "creation.json").write_text("{}")
    with pytest.raises(DataError, match="judge again"):
        CreationResult.read(tmp_path)


def test_a_judge_that_made_the_labels_is_told_of_in_an_export(make_parts, tmp_path: Path) -> None:
    labeller, real = Model(make_parts(creates=True)), open_data("scenes:4", "test", ["semantic"], size=(32, 32))
    how, mild = Variation(1, steps=1), Filters(min_distance=0, min_valid=0, min_contrast=0, empty=False)
    make_locally(Maker(labeller, real, how, Annotating(("semantic",)), mild, "none"), tmp_path / "created", 4)
    export(open_data(tmp_path / "created", "all"), tmp_path / "coco", "coco")
    made = open_data(tmp_path / "coco", "all", ["semantic"])
    notes = judge_creation(made, made, None, labeller, labeller, ["semantic"])["notes"]
    assert any("judges labels that the same weights made" in note for note in notes)


class OtherClasses(View):
    @property
    def keys(self) -> Sequence[str]:
        return self.whole.keys

    def __getitem__(self, i: int) -> Sample:
        sample = self.whole[i]
        labels = sample.truths["semantic"]
        return replace(sample, truths={**sample.truths, "semantic": replace(labels, classes=labels.classes[::-1])})


def test_training_labels_of_other_classes_are_not_held_beside(tiny_model: Model) -> None:
    truths = ["depth", "semantic"]
    made, real, learnt = (
        open_data(f"scenes:{SCENES}", split, truths, size=(32, 32)) for split in ("val", "test", "train")
    )
    few = subset(made, 6), subset(real, 6), subset(learnt, 6)
    for train, told in ((few[2], True), (OtherClasses(few[2]), False)):
        judged = judge_creation(*few[:2], train, tiny_model)
        of = {each["truth"]: each["train"] for each in judged["statistics"]}
        assert (of["semantic"] is not None) == told and of["depth"] is not None
        assert any("no semantic, or of other classes" in note for note in judged["notes"]) != told
