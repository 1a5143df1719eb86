"""denoisight data"""

import json
import logging
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import DataError, UsageError
from ..recipes.base import GtAugment as Corruption
from .flags import AsJson, Out, Seed

log = logging.getLogger(__name__)


def list_readers() -> None:
    """Print the kinds of folders that can be read, and the protocols with the data that they judge."""
    from ..data.readers import READERS
    from ..evaluate.protocols import PROTOCOLS

    print("folders   ", ", ".join(READERS))
    print("scenes    ", "train, val, test, shifted")
    for name, protocols in PROTOCOLS.items():
        for protocol in protocols:
            images = f"{protocol.count:4} images of {protocol.data} ({protocol.split})"
            print(f"protocol   {name:22} {protocol.task:9} {images}")


def validate(folder: Path, *, reader: str | None = None, json_: AsJson = False) -> None:
    """List every bad item of a folder; exits 3 if there is one.

    Parameters
    ----------
    folder
        Of labelled images.
    reader
        How it is read, where it is not to be told from what it holds: one that `denoisight data list` names.
    """
    from ..data.check import validate as find_problems

    problems = find_problems(folder, reader)
    if json_:
        print(json.dumps([vars(problem) for problem in problems], indent=2, default=str))
    else:
        for problem in problems:
            print(problem)
    if problems:
        raise DataError(f"{len(problems)} problems in {folder}.")
    print("Every item can be used.")


def stats(data: str, *, split: str = "train", json_: AsJson = False) -> None:
    """Print count, sizes, mean colour, depth range and class shares.

    Parameters
    ----------
    data
        A folder, or scenes:N.
    split
        train, val, test or all.
    """
    import yaml

    from ..data.open import open_data
    from ..data.stats import statistics

    numbers = statistics(open_data(data, split))
    print(json.dumps(numbers, indent=2) if json_ else yaml.safe_dump(numbers, sort_keys=False).rstrip())


def preview(
    data: str = "scenes:16",
    *,
    split: str = "train",
    num: int = 8,
    out: Out = Path("preview.png"),
    res: int = 128,
    task: str = "depth",
    gt_augment: Corruption = Corruption(),  # noqa: B008
    model: str = "embedded",
    seed: Seed = 0,
) -> None:
    """Draw the first pictures with all their truths as one contact sheet, or a task's truth as training corrupts it.

    Parameters
    ----------
    data
        A folder, or scenes:N.
    split
        train, val, test or all.
    num
        How many are drawn.
    res
        Longest side in pixels of scenes.
    gt_augment
        Corruptions to draw against the noise level, as in training: --gt-augment all, or some of blur, drift, colour,
        shape, shift, confuse, swap, jitter, on-policy, on-policy-exact, with commas.
    task
        Whose truth is corrupted.
    model
        Its noise schedule is the one that counts, and on-policy corruptions are its own estimates.
    """
    from ..data.images import write_png
    from ..data.open import open_data
    from ..render import colour, contact_sheet, to_rgb

    if gt_augment.kinds:
        from ..predict.load import load
        from ..recipes.preview import LEVELS, corrupted
        from ..train.gt_augment import GtAugment

        gt = GtAugment(**gt_augment.model_dump())
        rows = corrupted(load(model), task, open_data(data, split, size=(res, res)), num, gt, seed)
        names = ["image", "truth", *(f"t = {level:g} T" for level in LEVELS)]
    else:
        reader = open_data(data, split, size=(res, res))
        samples = [reader[i] for i in range(min(num, len(reader)))]
        rows = [[to_rgb(s.image), *(colour(truth) for truth in s.truths.values())] for s in samples]
        names = ["image", *samples[0].truths]
    write_png(out, contact_sheet(rows, names))
    print(out)


def render(*, out: Out, split: str = "train", num: int = 100, res: str = "64", seed: int = 0) -> None:
    """Write procedural scenes to disk as a labelled folder; the same command goes on where it was stopped.

    Parameters
    ----------
    split
        train, val, test or shifted.
    num
        How many there shall be.
    res
        Size in pixels: a side, or WIDTHxHEIGHT.
    seed
        Of the scenes; those of 0 are what "scenes" names elsewhere.
    """
    from ..data.render import render_scenes

    sides = res.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) >= 8 for side in sides):
        raise UsageError(f"--res {res} is no size; write 64 or 320x240, at least 8 pixels a side.")
    total = render_scenes(out, split, num, (int(sides[-1]), int(sides[0])), seed)
    print(f"{total} scenes in {out / split}")


def export(
    data: str,
    *,
    out: Out,
    format: Literal["coco", "folder", "shards"] = "coco",
    split: str = "",
    exact: Annotated[bool, Parameter(negative="")] = False,
    shard_size: int = 1000,
) -> None:
    """Write labelled images in another form; the same command goes on where it was stopped.

    coco: images/, annotations/instances.json, panoptic.json with panoptic/, and captions.json, of what the data have of
    these. folder: pictures and truths with metadata.jsonl, which Hugging Face datasets opens as an imagefolder. shards:
    tar files with a manifest. The last two hold all truths; all three keep where created pairs are from.

    Parameters
    ----------
    data
        Whatever can be trained on: a folder, created shards, reader:folder, scenes:N, ...
    format
        coco, folder or shards.
    split
        train, val, test or all (default: all; of scenes train). Of folders with train/, val/, test/ the keys remember
        which, so that all of them can be told apart again.
    exact
        Keep metric depth as float32 where it would be rounded to millimetres (folder and shards).
    shard_size
        Samples a shard.
    """
    from ..data.export import export as write
    from ..data.open import open_data

    reader = open_data(data, split or ("train" if data.partition(":")[0] == "scenes" else "all"))
    for note in reader.notes:
        log.info("%s", note)
    count = write(reader, out, format, exact=exact, shard_size=shard_size)
    print(f"{count} samples in {out}")
