"""denoisight evaluate"""

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .flags import AllowPickle, AsJson, Batch, Device, Precision, Quiet, Res, Route, Seed, Threads

log = logging.getLogger(__name__)


def evaluate(
    model: str = "embedded",
    *,
    allow_pickle: AllowPickle = False,
    protocol: str = "",
    task: str = "all",
    data: str = "",
    split: str = "test",
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    steps: int | None = None,
    stop_at: float | None = None,
    ensemble: int = 1,
    mirror: Annotated[bool, Parameter(negative="")] = False,
    res: Res = None,
    route: Route = None,
    phrasing: str = "",
    seed: Seed = 0,
    batch: Batch = 16,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = 0,
    limit: int | None = None,
    partial: Annotated[bool, Parameter(negative="")] = False,
    json_: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Judge a model by a frozen protocol, beside trivial baselines that never look at the picture.

    Parameters
    ----------
    model
        "embedded", a model folder, a run folder, a known name (marigold-depth, ...) or a hub id OWNER/NAME[@REVISION].
    protocol
        scenes/test, camvid-240/test, coco-refer/test, ...; without one, the folder named by --data is judged.
    task
        depth, referring, ... or several, "a,b"; "all" is all that the model learnt and that can be judged.
    data
        Where the protocol's images lie (default: where the run found them, or DENOISIGHT_DATA_DIR).
    split
        The split of a folder that is judged without a protocol.
    out
        Folder for results.json, per_image.csv and report.html (default: evaluation/PROTOCOL in the run folder,
        else runs/evaluation/...).
    steps
        Denoising steps (default: the model's own).
    ensemble
        Answers from different noise that are brought to agree.
    stop_at
        Leave the denoising steps once the next noise level in [0, 1) is below this one (default: the model's own).
    mirror
        The mean of what is seen in a picture and in its mirror image; of models that are read out.
    phrasing
        Ask in free words, by the number of a paraphrase, from 0, or "random": of models that follow instructions.
    limit
        Judge the first images only; needs --partial, and the result says so.
    partial
        Accept images that are not the protocol's whole list.
    """
    from ..predict.load import load
    from ..predict.options import Options
    from ..recipes.judge import judge
    from ..recipes.pages.run import evaluation_page
    from ..report.page import write_page
    from ..report.tables import score_tables, terminal
    from ..runtime import use_threads

    use_threads(threads)
    judged = judge(
        load(model, device, precision, allow_pickle),
        model,
        protocol=protocol,
        task=task,
        data=data,
        split=split,
        options=Options(steps, ensemble, res, route, seed, batch, stop_at=stop_at, mirror=mirror),
        phrasing=phrasing,
        limit=limit,
        partial=partial,
        quiet=quiet,
    )
    for note in judged.notes:
        log.info("%s", note)
    run = Path(model) if Path(model).is_dir() else Path("runs") / model
    asked = f"-phrasing-{phrasing}" if phrasing else ""
    folder = out or run / "evaluation" / ((protocol or f"own-{split}").replace("/", "-") + asked)
    judged.results.write(folder)
    write_page(folder / "report.html", evaluation_page(judged, " ".join(["denoisight", *sys.argv[1:]])))
    if json_:
        print(judged.results.model_dump_json(indent=2))
    else:
        from rich.console import Console

        for table in score_tables(judged.results.results, judged.baselines):
            Console().print(terminal(table))
    log.info("Wrote results.json, per_image.csv and report.html into %s.", folder)
