"""How good the pictures of a study's arms are: beside real ones, beside each other, and to look at.

Of each arm that creates, the pictures of all seeds are judged together once they are there, and are a line of the
study's pictures.jsonl; `pictures.png` shows the first ones of every arm beside what they were made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies import pool
from studies.teaching import JUDGE, Arm, Cell, Study, hash_of
from studies.worlds import ROOT, SIDE

REAL = 2000
"""All that the split has."""
SHOWN = 8

COLUMNS = {"KID x 1000 ↓": ("kid", 1000.0), "precision ↑": ("precision", 1.0), "recall ↑": ("recall", 1.0),
           "coverage ↑": ("coverage", 1.0), "diversity within": ("created_within", 1.0),
           "across": ("created_across", 1.0), "distance to training": ("copies", 1.0),
           "agreement": ("agreement", 1.0)}  # fmt: skip


def creating(study: Study) -> list[Arm]:
    return [arm for arm in study.arms if arm.pictures == "created"]


def rows(study: Study) -> list[dict[str, Any]]:
    found = pool.rows(study.folder / "pictures.jsonl")
    return [row for row in found if row["settings"] == _settings(study)]


def judge(study: Study, jobs: int | None = None) -> None:
    """What is missing of pictures.jsonl, and the page."""
    done = {row["arm"] for row in rows(study)}
    missing = [(study, arm) for arm in creating(study) if arm.name not in done]
    missing = [call for call in missing if all(Cell(*call, seed).created(0).exists() for seed in study.seeds)]
    if not missing:
        return
    from denoisight.data.render import render_scenes

    render_scenes(ROOT / "real", "test", REAL, (SIDE, SIDE), 0)
    for row in pool.each(judged, missing, jobs):
        pool.append(study.folder / "pictures.jsonl", row)
    draw(study)


def judged(study: Study, arm: Arm) -> dict[str, Any]:
    """The pictures of all seeds against real ones that nobody learnt from, in features that saw no truth."""
    from denoisight.data.open import open_data, subset
    from denoisight.data.unlabelled import Joined, Renamed
    from denoisight.predict.load import load
    from denoisight.recipes.creation import judge_creation

    cells = [Cell(study, arm, seed) for seed in study.seeds]
    created = Joined(tuple(Renamed(open_data(str(c.created(0)), "all"), f"seed-{c.seed}") for c in cells))
    learnt = [subset(open_data(str(c.labelled), "train"), arm.labels) for c in cells]
    train = Joined(tuple(Renamed(reader, f"seed-{c.seed}") for reader, c in zip(learnt, cells, strict=True)))
    real = open_data(str(ROOT / "real"), "test")
    tasks = [task for task in arm.tasks if task != "depth"]
    judgement = judge_creation(created, real, train, load("embedded-create", "cpu"), load(JUDGE, "cpu"), tasks)
    return {"arm": arm.name, "settings": _settings(study), **numbers(judgement)}


def numbers(judgement: Mapping[str, Any]) -> dict[str, Any]:
    """Of creation.json what the table shows, each [value, low, high]."""
    seen, agreement = judgement["features"][0], judgement["agreement"]
    made, copies, diversity = seen["created"], seen["copies"], seen["diversity"]
    scores = {name: made[name] for name in ("kid", "precision", "recall", "coverage")}
    scores |= {name: diversity[name] for name in ("created_within", "created_across")} | {"copies": copies["ratio"]}
    found = {name: [score["value"], score["low"], score["high"]] for name, score in scores.items()}
    real = seen["train"]["kid"]
    for one in agreement[:1]:
        score, ceiling = one["created"][one["metric"]], one["real"][one["metric"]]
        found["agreement"] = [score["value"], score["low"], score["high"]]
        found["agreement_real"] = ceiling["value"]
    return {
        "features": seen["features"],
        "num": judgement["created"]["num_images"],
        "num_real": judgement["real"]["num_images"],
        "train_kid": [real["value"], real["low"], real["high"]],
        **found,
    }


def table(study: Study) -> list[str]:
    """Lines of the README about the pictures."""
    found = {row["arm"]: row for row in rows(study)}
    found = {arm.name: found[arm.name] for arm in creating(study) if arm.name in found}
    if not found:
        return []
    first = next(iter(found.values()))
    lines = [
        "",
        "## The pictures",
        "",
        f"Pictures of all seeds together, against {first['num_real']} test scenes, in {first['features']}; as many or",
        f"fewer training scenes have a KID x 1000 of {_told(first['train_kid'], 1000)}. Distance to training: of the",
        "nearest training scene in relation to that of test scenes. Agreement: the decisive metric of the labels, as",
        f"`{JUDGE}` judges them; of true labels it is {first.get('agreement_real', float('nan')):.3g}.",
        "",
        f"| arm | pictures | {' | '.join(COLUMNS)} |",
        "|---|---:|" + "---:|" * len(COLUMNS),
    ]
    for name, row in found.items():
        cells = [_told(row[key], times) if key in row else "" for key, times in COLUMNS.values()]
        lines.append(f"| {name} | {row['num']} | {' | '.join(cells)} |")
    return [*lines, "", "![The first pictures of every arm](pictures.png)"]


def draw(study: Study) -> None:
    """`pictures.png`: above, scenes of the first seed; below, what every arm made of them."""
    from denoisight.data.images import write_png
    from denoisight.data.open import open_data, subset
    from denoisight.render import contact_sheet, to_rgb

    sheets, captions = [], []
    for arm in creating(study):
        cell = Cell(study, arm, study.seeds[0])
        source = subset(open_data(str(cell.labelled), "train"), arm.labels)
        if not sheets:
            sheets.append([to_rgb(source[i].image) for i in range(SHOWN)])
            captions.append("what they are made from")
        reader = open_data(str(cell.created(0)), "all")
        place = {key.partition("#")[0]: i for i, key in reversed(list(enumerate(reader.keys)))}
        keys = [source.keys[i] for i in range(SHOWN) if source.keys[i] in place]
        sheets.append([to_rgb(reader[place[key]].image) for key in keys])
        captions.append(arm.name)
    write_png(study.folder / "pictures.png", contact_sheet(sheets, (), captions, 2 * SIDE))


def _settings(study: Study) -> str:
    return hash_of(study.settings, study.seeds, JUDGE, REAL)


def _told(value: Sequence[float], times: float) -> str:
    middle, low, high = (times * number for number in value)
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"
