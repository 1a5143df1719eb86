"""Predictions on disk: exact values that read back, and a picture for people."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from denoisight.annotations import Depth, Labels, Mask, Normals, Query
from denoisight.data.files import read_depth, read_instances, read_labels, read_normals
from denoisight.data.info import LabelTable
from denoisight.errors import DataError
from denoisight.predict.prediction import Prediction

CLASSES = ("floor", "wall", "box")


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


EVERYWHERE = torch.ones(6, 9, dtype=torch.bool)
ANNOTATIONS = {
    "depth": Depth(draw(0, 6, 9), EVERYWHERE, "affine"),
    "normals": Normals.of(draw(1, 3, 6, 9) - 0.5),
    "semantic": Labels((3 * draw(2, 6, 9)).long(), CLASSES),
    "mask": Mask(draw(3, 6, 9), EVERYWHERE),
    "instances": Labels((3 * draw(4, 6, 9)).long(), (), draw(5, 2)),
}
every_kind = pytest.mark.parametrize("task", ANNOTATIONS)


def prediction(task, **more):
    return Prediction(Query(draw(9, 3, 6, 9), key="street"), task, ANNOTATIONS[task], **more)


@every_kind
def test_values_and_a_picture_are_written(tmp_path, task):
    written = prediction(task).save(tmp_path / "new" / "out")
    assert {p.name for p in (tmp_path / "new" / "out").iterdir()} == {p.name for p in written}
    assert all(p.name.startswith(f"street_{task}") for p in written)
    picture = Image.open(written[-1])
    assert written[-1].name == f"street_{task}_colour.png"
    assert picture.size == (9, 6) and picture.mode == "RGB"
    assert np.array_equal(np.array(picture), prediction(task).picture())


def test_depth_reads_back_bit_for_bit(tmp_path):
    exact, png, _ = prediction("depth").save(tmp_path)
    read = read_depth(exact, gauge="affine")
    assert exact.suffix == ".npy" and torch.equal(read.values, ANNOTATIONS["depth"].values) and read.valid.all()
    coarse = np.array(Image.open(png))
    assert coarse.dtype == np.uint16
    assert np.abs(coarse / 65535 - ANNOTATIONS["depth"].values.numpy()).max() <= 0.5 / 65535 + 1e-7


def test_things_keep_their_scores(tmp_path):
    exact, png, _ = prediction("instances").save(tmp_path)
    assert (exact.name, png.name) == ("street_instances.npz", "street_instances.png")
    for name, tensor in read_instances(exact).tensors().items():
        assert torch.equal(tensor, ANNOTATIONS["instances"].tensors()[name])
    assert read_instances(png).scores is None


def test_normals_read_back_bit_for_bit(tmp_path):
    read = read_normals(prediction("normals").save(tmp_path)[0])
    assert torch.equal(read.vectors, ANNOTATIONS["normals"].vectors)
    assert torch.equal(read.valid, ANNOTATIONS["normals"].valid)


def test_labels_read_back_bit_for_bit(tmp_path):
    read = read_labels(prediction("semantic").save(tmp_path)[0], LabelTable.contiguous(CLASSES))
    assert torch.equal(read.ids, ANNOTATIONS["semantic"].ids) and read.classes == CLASSES


def test_uncertainty_is_written_beside(tmp_path):
    spread = draw(4, 6, 9)
    written = prediction("depth", uncertainty=spread).save(tmp_path)
    (path,) = [p for p in written if "uncertainty" in p.name]
    assert np.array_equal(np.load(path), spread.numpy())
    assert not any("uncertainty" in p.name for p in prediction("normals").save(tmp_path))


def test_what_was_saved_is_known_to_be(tmp_path):
    assert not Prediction.is_saved(tmp_path, "street", "depth")
    prediction("depth").save(tmp_path)
    assert Prediction.is_saved(tmp_path, "street", "depth")
    assert not Prediction.is_saved(tmp_path, "street", "normals")
    assert not Prediction.is_saved(tmp_path, "house", "depth")


def test_saving_twice_replaces(tmp_path):
    first = prediction("depth").save(tmp_path)
    before = [p.read_bytes() for p in first]
    assert prediction("depth").save(tmp_path) == first
    assert [p.read_bytes() for p in first] == before
    assert len(list(tmp_path.iterdir())) == len(first)


def test_keys_with_folders_make_folders(tmp_path):
    inside = Prediction(Query(draw(9, 3, 6, 9), key="a/b"), "depth", ANNOTATIONS["depth"])
    assert all(p.parent == tmp_path / "a" for p in inside.save(tmp_path))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="file.*--out"):
        prediction("depth").save(tmp_path / "file")


@every_kind
def test_notebooks_show_the_picture(task):
    shown = Image.open(BytesIO(prediction(task)._repr_png_()))
    assert shown.format == "PNG"
    assert np.array_equal(np.array(shown), prediction(task).picture())
    assert prediction(task).picture().std() > 1


def test_a_models_own_predictions_are_saved_and_read_back(tiny_model, tmp_path):
    made = tiny_model.predict(draw(5, 3, 17, 23), "depth", ensemble=3, steps=1)
    exact = made.save(tmp_path)[0]
    assert torch.equal(read_depth(exact, gauge="affine").values, made.annotation.values)
    assert (tmp_path / "000000_depth_uncertainty.npy").exists()
