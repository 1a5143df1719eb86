"""denoisight evaluate"""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

log = logging.getLogger(__name__)


def evaluate(
    model: str = "embedded",
    *,
    allow_pickle: Annotated[bool, Parameter(negative="")] = False,
    protocol: str = "",
    task: str = "all",
    data: str = "",
    split: str = "test",
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    steps: int | None = None,
    stop_at: float | None = None,
    ensemble: int = 1,
    mirror: Annotated[bool, Parameter(negative="")] = False,
    res: int | None = None,
    route: Literal["denoise", "readout"] | None = None,
    phrasing: str = "",
    seed: int = 0,
    batch: int = 16,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    device: str = "auto",
    threads: int = 0,
    limit: int | None = None,
    partial: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> None:
    """Judge a model by a frozen protocol, beside trivial baselines that never look at the picture.

    Parameters
    ----------
    model
        "embedded", a model folder, a run folder, a known name (marigold-depth, ...) or a hub id OWNER/NAME[@REVISION].
    allow_pickle
        Open a model of which there are only pickles (.bin); of safetensors there is no need.
    protocol
        scenes/test, camvid-240/test, coco-refer/test, ...; without one, the folder named by --data is judged.
    task
        depth, referring, ... or several, "a,b"; "all" is all that the model learnt and that can be judged.
    data
        Where the protocol's images lie (default: where the run found them, or DENOISIGHT_DATA_DIR).
    out
        Folder for results.json, per_image.csv and report.html (default: evaluation/PROTOCOL in the run folder,
        else runs/evaluation/...).
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
