"""The main job's numbers: the embedded model as shipped, and two adaptations to real photographs.

    DENOISIGHT_DATA_DIR=DATA python studies/main_job/run.py [CASE ...]

Runs each command below unless its results are there already, keeps their results.json beside this file and writes
the tables of the project's README from them. Two cores, about half an hour.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from denoisight.evaluate.results import Result, Results
from denoisight.report.tables import ARROWS, format_score, markdown, score_tables
from denoisight.train.validate import CHOOSE_BY

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
ALL = HERE.parents[1] / "docs" / "results.md"
RUNS = Path("runs")
DATA = Path(os.environ.get("DENOISIGHT_DATA_DIR", "../shared/data"))

CASES: dict[str, list[list[str]]] = {
    "scenes-test": [["evaluate", "embedded", "--protocol", "scenes/test", "--task", "all"]],
    "scenes-shifted": [["evaluate", "embedded", "--protocol", "scenes/shifted", "--task", "all"]],
    "kitti-object": [
        ["evaluate", "embedded", "--protocol", "kitti-object/all", "--task", "depth", "--data", f"{DATA}/kitti_object"]
    ],
    "camvid": [
        ["train", "semantic", "--data", f"{DATA}/camvid_240x180", "--max-time", "10m", "-o", "runs/camvid"],
        ["evaluate", "runs/camvid", "--protocol", "camvid-240/test"],
    ],
    "kitchen": [
        ["train", "depth", "--data", f"{DATA}/kitchen_rgbd_272x208", "--max-time", "10m", "-o", "runs/kitchen"],
        ["evaluate", "runs/kitchen", "--protocol", "kitchen/test"],
    ],
}
BASELINES = {
    "vertical ramp",
    "mean training map",
    "facing above ground",
    "most frequent class",
    "most frequent class per pixel",
    "mean training mask",
    "largest object",
    "random object",
    "one thing a quadrant",
    "one thing in the middle",
}
NOTE = (
    "Depth is aligned by scale and shift and is the mean over images; all others are pooled over images. Brackets: "
    "95 % bootstrap intervals over images. The largest and the random object are told the true things of the image. "
    "The mean map of kitti-object is made from some of the ten images that it is judged on."
)


def main() -> None:
    for name in sys.argv[1:] or CASES:
        if not (HERE / name / "results.json").exists():
            run(name, CASES[name])
    if all((HERE / name / "results.json").exists() for name in CASES):
        write_tables()


def run(name: str, commands: list[list[str]]) -> None:
    out = RUNS / "main_job" / name
    for words in commands:
        more = ["-o", str(out)] if words[0] == "evaluate" else ["--overwrite"]
        subprocess.run([sys.executable, "-m", "denoisight", *words, *more], check=True)
    (HERE / name).mkdir(exist_ok=True)
    for file in ("results.json", "per_image.csv"):
        shutil.copy(out / file, HERE / name / file)


def write_tables() -> None:
    """Put the summary between the markers of the README, and all tables into docs/results.md."""
    before, _, rest = README.read_text(encoding="utf-8").partition("<!-- scores -->\n")
    _, _, after = rest.partition("<!-- end of scores -->")
    README.write_text(f"{before}<!-- scores -->\n{summary()}<!-- end of scores -->{after}", encoding="utf-8")
    ALL.write_text(tables(), encoding="utf-8")


def summary() -> str:
    """The deciding score of each task of the shipped model, beside the best trivial baseline; then the adaptations."""
    rows = [
        "| | scenes/test | best trivial baseline | scenes/shifted | best trivial baseline |",
        "|---|---:|---:|---:|---:|",
    ]
    shifted = {r.protocol.task: r for r in _own("scenes-shifted")}
    for result in _own("scenes-test"):
        cells = [
            _cells(r, case) for r, case in ((result, "scenes-test"), (shifted[result.protocol.task], "scenes-shifted"))
        ]
        rows.append(f"| {_title(result)} | {' | '.join(cell for pair in cells for cell in pair)} |")
    others = ["", "| | model | best trivial baseline |", "|---|---:|---:|"]
    for case in CASES:
        if not case.startswith("scenes"):
            (result,) = _own(case)
            others.append(f"| {result.protocol.name}: {_title(result)} | {' | '.join(_cells(result, case))} |")
    return "\n".join([*rows, *others, "", f"{NOTE}\n"])


def _own(case: str) -> list[Result]:
    return [r for r in _read(case) if r.predictor not in BASELINES]


def _title(result: Result) -> str:
    metric = CHOOSE_BY[result.protocol.task][0]
    told = result.metrics[metric]
    return f"{result.protocol.task}, {metric} ({told.unit}) {ARROWS[told.better]}"


def _cells(result: Result, case: str) -> tuple[str, str]:
    """The score with its interval, and that of the best rival with its name."""
    metric, sign = CHOOSE_BY[result.protocol.task]
    rivals = [r for r in _read(case) if r.predictor in BASELINES and r.protocol.task == result.protocol.task]
    best = min(rivals, key=lambda r: sign * r.headline[metric].value)
    return format_score(result.headline[metric]), f"{format_score(best.headline[metric])} {best.predictor}"


def tables() -> str:
    """Per protocol and task, the scores of the committed results with their intervals."""
    parts = ["# Results\n\nWritten, and made, by `python studies/main_job/run.py`.\n"]
    for name in CASES:
        shown = [replace(table, note="") for table in score_tables(_read(name), BASELINES) if table.rows]
        parts += [f"**{table.title}**\n\n{markdown(table)}" for table in shown]
    return "\n".join([*parts, f"{NOTE}\n"])


def _read(name: str):
    return Results.read(HERE / name).results


if __name__ == "__main__":
    main()
