import csv
import json
from dataclasses import asdict

import pytest
import torch

from denoisight.errors import DataError
from denoisight.evaluate.results import Results
from denoisight.evaluate.run import evaluate


@pytest.fixture
def results(reader, protocols, oracle):
    """A row of depth with one image that has no truth, and one of labels."""
    reader[2].truths["depth"].valid[:] = False
    depth = evaluate(
        oracle("depth"),
        protocols["depth"],
        reader,
        name="ours",
        model_hash="abc",
        settings={"steps": 4, "seeds": [0], "route": "denoise"},
        seed=5,
    )
    return Results(results=(depth, evaluate(oracle("semantic"), protocols["semantic"], reader)))


def test_every_row_names_how_it_was_made(results, protocols, tmp_path):
    results.write(tmp_path)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["schema_version"] == 1
    row = written["results"][0]
    assert row["protocol"] == json.loads(json.dumps(asdict(protocols["depth"])))
    assert (row["predictor"], row["model_hash"], row["seed"]) == ("ours", "abc", 5)
    assert (row["partial"], row["num_images"], row["num_empty"]) == (False, 7, 1)
    expected = {
        "steps": 4,
        "ensemble": None,
        "dtype": None,
        "resolution": None,
        "seeds": [0],
        "route": "denoise",
    }
    assert row["settings"] == expected
    assert row["metrics"]["abs_rel"] == {"unit": "ratio", "better": "lower"}
    assert row["scores"].keys() == {"per-image", "pooled"}
    assert row["scores"]["pooled"]["delta1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert row["versions"]["torch"] == torch.__version__


def test_what_was_written_is_read(results, tmp_path):
    results.write(tmp_path)
    again = Results.read(tmp_path)
    assert again.results[0].protocol == results.results[0].protocol
    assert again.model_dump_json() == results.model_dump_json()


def test_per_image_has_a_row_for_every_image(results, tmp_path):
    results.write(tmp_path)
    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [f"item-{i:02d}" for i in range(7)] * 2
    assert [row["task"] for row in rows] == ["depth"] * 7 + ["semantic"] * 7
    assert rows[2]["abs_rel"] == "", "an image without truth has no score"
    assert float(rows[3]["delta1"]) == 1
    assert rows[3]["miou"] == ""
    assert float(rows[7]["iou/floor"]) == 1


def test_one_result_writes_itself(results, tmp_path):
    results.results[0].write(tmp_path / "new" / "folder")
    assert len(Results.read(tmp_path / "new" / "folder").results) == 1


@pytest.mark.parametrize("content", [None, "", '{"schema_version": 2, "results": []}', '{"results": [{}]}'])
def test_other_files_are_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match="evaluate again"):
        Results.read(tmp_path)
