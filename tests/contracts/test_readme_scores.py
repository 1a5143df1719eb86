"""The README's scores are those of the committed results, which are the shipped model's."""

import json
import runpy
from pathlib import Path

import denoisight

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_committed_results() -> None:
    study = runpy.run_path(str(ROOT / "studies" / "main_job" / "run.py"))
    shown = f"<!-- scores -->\n{study['summary']()}<!-- end of scores -->"
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == study["tables"]()


def test_the_results_are_of_the_shipped_weights() -> None:
    told = json.loads((ROOT / "studies" / "main_job" / "scenes-test" / "results.json").read_text(encoding="utf-8"))
    assert told["results"][0]["model_hash"] == denoisight.load("embedded", "cpu").weights_hash
