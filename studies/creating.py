"""How good the pictures of a study's arms are: beside real ones, beside each other, and to look at.

Of each arm that creates, the pictures of all seeds are judged together, and are a line of the study's pictures.jsonl;
`pictures.png` shows the first ones of every arm below what they were made from, `failures.png` those whose labels the
judge finds most wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from studies import pool, teach
from studies.teaching import JUDGE, Arm, Cell, Study, hash_of
from studies.worlds import ROOT, SIDE

if TYPE_CHECKING:
    from denoisight.data.readers import Reader
    from denoisight.render import Picture

REAL = 2000
"""All that the split has."""
SHOWN, WORST = 8, 2
ESTIMATE = "images of one source are neither pairs of KID nor neighbours"
"""Of distances, in the version that lines are judged by; others do not count."""

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
    if not missing:
        return
    from denoisight.data.render import render_scenes

    _make_pictures(study, jobs)
    render_scenes(ROOT / "real", "test", REAL, (SIDE, SIDE), 0)
    for row in pool.each(judged, missing, jobs):
        pool.append(study.folder / "pictures.jsonl", row)
    draw(study)


def _make_pictures(study: Study, jobs: int | None) -> None:
    """Those of all arms, for the pages: a run that another study did, or that was done elsewhere, left none here."""
    cells = [Cell(study, arm, seed) for seed in study.seeds for arm in creating(study)]
    needed = (task for task in teach.tasks(cells) if task.work is not teach.train_and_score)
    for task, seconds in pool.when_ready(needed, jobs):
        print(f"{task.work.__name__}: {seconds:.0f} s", flush=True)


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
        f"Pictures of all seeds together, against {first['num_real']} test scenes, in",
        f"{first['features']}.",
        f"As many or fewer training scenes have a KID x 1000 of {_told(first['train_kid'], 1000)}.",
        "Distance to training: of the nearest training scene in relation to that of test scenes. Agreement: the",
        f"decisive metric of the labels, as `{JUDGE}` judges them, also in the sky, where both guess; of true labels,",
        f"which leave it out, it is {first.get('agreement_real', float('nan')):.3g}.",
        "",
        f"| arm | pictures | {' | '.join(COLUMNS)} |",
        "|---|---:|" + "---:|" * len(COLUMNS),
    ]
    for name, row in found.items():
        cells = [_told(row[key], times) if key in row else "" for key, times in COLUMNS.values()]
        lines.append(f"| {name} | {row['num']} | {' | '.join(cells)} |")
    lines += ["", "![The first pictures of every arm](pictures.png)", ""]
    lines += [
        f"Of every arm the {WORST} pictures of whose labels least is true, as the judge sees them, but for the sky:",
        "",
    ]
    return [*lines, "![Failures](failures.png)"]


def draw(study: Study) -> None:
    """`pictures.png`: above, scenes of the first seed; below, what every arm made of them, white where all that it made
    was dropped. `failures.png`: of every arm the created pictures of whose labels least is true, as the judge sees
    them, beside their sources."""
    from denoisight.data.images import write_png
    from denoisight.render import contact_sheet, to_rgb

    cells = [Cell(study, arm, study.seeds[0]) for arm in creating(study)]
    names = [cell.arm.name for cell in cells]
    begun = [to_rgb(_source(cells[0])[i].image) for i in range(SHOWN)]
    sheet = contact_sheet([begun, *map(_first, cells)], (), ["what they are made from", *names], 2 * SIDE)
    write_png(study.folder / "pictures.png", sheet)
    titles = ("source", "created", "its label", "the judge's") * WORST
    write_png(study.folder / "failures.png", contact_sheet([*map(_worst, cells)], titles, names, 2 * SIDE))


def _first(cell: Cell) -> list[Picture]:
    """What each of the first labelled scenes became."""
    from denoisight.render import to_rgb

    made = _made(cell)
    place = {key.partition("#")[0]: i for i, key in reversed(list(enumerate(made.keys)))}
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    return [to_rgb(made[place[key]].image) if key in place else white for key in _source(cell).keys[:SHOWN]]


def _worst(cell: Cell) -> list[Picture]:
    """The pictures whose labels are farthest from what the judge sees, each between its source and both labels."""
    from denoisight.data.open import open_data
    from denoisight.render import colour, to_rgb

    made, source, judged = _made(cell), _source(cell), open_data(str(cell.judged), "test")
    place = {key: i for i, key in enumerate(made.keys)}
    looks = [(made[place[key]], judged[i].truths) for i, key in enumerate(judged.keys)]
    looks.sort(key=lambda look: -_angle(look[0].truths["normals"], look[1]))
    shown = []
    for own, told in looks[:WORST]:
        before = source[source.keys.index(own.key.partition("#")[0])]
        labels = colour(own.truths["normals"]), colour(told["normals"])
        shown += [to_rgb(before.image), to_rgb(own.image), *labels]
    return shown


def _angle(own: Any, told: Mapping[str, Any]) -> float:
    """Between normals and the judge's in the mean, but for the sky, which has no truth, so that both guess."""
    from denoisight.metrics.normals import angle_deg

    normals, seen = told["normals"], told["semantic"]
    known = own.valid & normals.valid & (seen.ids != seen.classes.index("sky"))
    return float(angle_deg(own.vectors, normals.vectors)[known].mean().nan_to_num())


def _made(cell: Cell) -> Reader:
    """Created pictures of the first turn."""
    from denoisight.data.open import open_data

    return open_data(str(cell.created(0)), "all")


def _source(cell: Cell) -> Reader:
    """What they were made from."""
    from denoisight.data.open import open_data, subset

    return subset(open_data(str(cell.labelled), "train"), cell.arm.labels)


def _settings(study: Study) -> str:
    return hash_of(study.settings, study.seeds, JUDGE, REAL, ESTIMATE)


def _told(value: Sequence[float | None], times: float) -> str:
    """Nothing where it could not be told; alone where how sure it is could not."""
    known = [f"{times * number:.3g}" for number in value if number is not None]
    return f"{known[0]} [{known[1]}, {known[2]}]" if len(known) == 3 else "".join(known[:1])
