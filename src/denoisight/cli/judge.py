"""denoisight judge"""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .flags import AsJson, Batch, Device, Precision, Quiet, Route, Seed, Threads

if TYPE_CHECKING:
    from ..data.readers import Reader

log = logging.getLogger(__name__)


def judge(
    created: str,
    *,
    real: str,
    split: str = "test",
    train: str = "",
    features: str = "embedded,embedded-create",
    inception: Path | None = None,
    images: int = 10_000,
    judge: str = "",
    task: str = "",
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    steps: int | None = None,
    route: Route = None,
    res: int | None = None,
    seed: Seed = 0,
    batch: Batch = 16,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = 0,
    json_: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say how good created images and their labels are, beside real ones.

    Distances between the sets (FID, KID, precision, recall, density, coverage), diversity, copies of training images,
    distributions of the labels, and what a judge makes of the labels. Writes creation.html, creation.json and
    per_image.csv.

    Parameters
    ----------
    created
        The folder of created images, labelled or not.
    real
        Images that the creator did not learn from, as for --data elsewhere: a folder, scenes:N, ...
    split
        Which of the real images: train, val, test or all.
    train
        The data that the creator learnt from; their training split shows copies, and how near real images lie.
    features
        The models whose features images are compared in, "A,B": embedded ones, folders, known names, hub ids; "none"
        with --inception. A model that creates sees blur and noise, to which one that perceives is nearly blind.
    inception
        A network in TorchScript to compare in, too: inception-2015-12-05.pt, the one that FID was defined with. Weights
        alone, such as those of torchmetrics, will not do.
    images
        So many of each set are looked at, at most, those whose keys hash lowest; 0 for all of them. Distances to
        neighbours take time that grows with the square of their number.
    judge
        A model that learnt from other data; it is asked for the created labels. Where the same weights made
        them, in the same precision, a note says so.
    task
        Tasks to compare labels in, "depth,semantic" (default: all that both sets have).
    out
        Folder for what is written (default: judgement in the created folder's parent, or in runs).
    steps
        Denoising steps of the judge (default: its own); so --route.
    res
        Longest side in pixels at which models look at images, 0 for the images' own (default: each model's own).
    """
    from ..data.open import open_pictures
    from ..evaluate.features import inception as open_inception
    from ..evaluate.features import taps_of
    from ..predict.load import load
    from ..predict.options import Options
    from ..recipes.creation import judge_images
    from ..recipes.pages.creation import creation_page, lead
    from ..report.page import write_page
    from ..runtime import pick_device, use_threads

    use_threads(threads)
    names = [] if features == "none" else features.split(",")
    networks = [taps_of(load(name.strip(), device, precision), res) for name in names]
    networks += [open_inception(inception, pick_device(device))] if inception else []
    made, others, learnt = open_pictures(created), open_pictures(real, split), train and open_pictures(train, "train")
    for note in (note for reader in (made, others, learnt) if reader for note in reader.notes):
        log.info("%s", note)
    judged = judge_images(
        _some(made, images),
        _some(others, images),
        _some(learnt, images) if learnt else None,
        networks,
        load(judge, device, precision) if judge else None,
        list(dict.fromkeys(name.strip() for name in task.split(","))) if task else [],
        options=Options(steps=steps, route=route, res=res, seed=seed, batch=batch),
        quiet=quiet,
    )
    place = Path(created).parent if Path(created).is_dir() else Path("runs")
    folder = out or place / "judgement"
    judged.result.write(folder)
    write_page(folder / "creation.html", creation_page(judged, " ".join(["denoisight", *sys.argv[1:]])))
    print(judged.result.model_dump_json(indent=2) if json_ else lead(judged.result))
    for note in judged.result.notes:
        log.info("%s", note)
    log.info("Wrote creation.html, creation.json and per_image.csv into %s.", folder)


def _some(reader: "Reader", most: int) -> "Reader":
    from ..data.open import subset

    if not 0 < most < len(reader):
        return reader
    log.info("Of the %d images of %s, %d are judged (--images).", len(reader), reader.name, most)
    return subset(reader, most)
