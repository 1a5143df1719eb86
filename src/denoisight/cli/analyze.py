"""denoisight analyze"""

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .flags import AllowPickle, AsJson, Batch, Device, Precision, Quiet, Res, Seed, Threads

log = logging.getLogger(__name__)


def analyze(
    model: str = "embedded",
    *,
    allow_pickle: AllowPickle = False,
    task: str = "depth",
    protocol: str = "",
    data: str = "",
    split: str = "test",
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    steps: int = 10,
    seeds: int = 3,
    limit: int = 64,
    sampler: str = "ddim",
    res: Res = None,
    seed: Seed = 0,
    batch: Batch = 16,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = 0,
    store: bool = True,
    json_: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score the estimate after every denoising step: what the first bring, what the last cost and why, how many serve.

    Writes report.html, analysis.json with all numbers, and law.json: how often to train on each noise level.

    Parameters
    ----------
    model
        "embedded", a model folder, a run folder, a known name (marigold-depth, ...) or a hub id OWNER/NAME[@REVISION].
    task
        One task that the model denoises: depth, referring, ...
    protocol
        scenes/val, camvid-240/val, coco-refer/val, ...; without one, the folder named by --data is taken.
    data
        Where the protocol's images lie (default: where the run found them, or DENOISIGHT_DATA_DIR).
    split
        The split of a folder that is taken without a protocol.
    sampler
        Of the walks: ddim, euler, dpmpp-2m, ddpm or euler-ancestral.
    out
        Folder for the report (default: analysis/PROTOCOL-TASK in the run folder, else runs/MODEL/analysis/...).
    steps
        Steps of the longest walk; 1, 2, 4, ... are compared with it.
    seeds
        Seeds that curves are averaged over, from --seed on.
    limit
        Images at most.
    store
        Keep the recommended steps and stopping point in the model's own folder, so that it takes them by default.
    """
    from ..predict.load import load
    from ..predict.options import Options
    from ..recipes.analyze import analyze as run
    from ..recipes.pages.analysis import analysis_page
    from ..report.page import write_page
    from ..runtime import use_threads

    use_threads(threads)
    analysed = run(
        load(model, device, precision, allow_pickle),
        model,
        task=task,
        protocol=protocol,
        data=data,
        split=split,
        steps=steps,
        seeds=seeds,
        limit=limit,
        options=Options(res=res, seed=seed, batch=batch, sampler=sampler),
        store=store,
        quiet=quiet,
    )
    place = Path(model) if Path(model).is_dir() else Path("runs") / model
    folder = out or place / "analysis" / f"{protocol or f'own-{split}'}-{task}".replace("/", "-")
    analysed.write(folder)
    page = analysis_page(analysed, " ".join(["denoisight", *sys.argv[1:]]))
    write_page(folder / "report.html", page)
    print(analysed.analysis.model_dump_json(indent=2) if json_ else page.lead)
    log.info("Wrote report.html, analysis.json and law.json into %s.", folder)
