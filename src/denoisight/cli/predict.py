"""denoisight predict"""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import DataError, UsageError, shortlist
from .flags import AllowPickle, AsJson, Batch, Device, Out, Precision, Quiet, Res, Route, Seed, Threads

log = logging.getLogger(__name__)


def predict(
    *inputs: str,
    task: str = "depth",
    out: Out = Path("out"),
    model: str = "embedded",
    allow_pickle: AllowPickle = False,
    steps: int | None = None,
    stop_at: float | None = None,
    ensemble: int = 1,
    mirror: Annotated[bool, Parameter(negative="")] = False,
    res: Res = None,
    route: Route = None,
    prompt: str = "",
    sampler: str = "ddim",
    ensemble_method: str = "closed-form",
    seed: Seed = 0,
    batch: Batch = 8,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = 0,
    overwrite: bool = False,
    json_: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Predict for files, folders, globs, .txt lists and .jsonl lists; what is done already is skipped.

    For each picture and task: exact values (16-bit PNG and float .npy or .npz, or an indexed PNG of labels) and a
    coloured picture. A picture that cannot be read is named at the end (exit 3); the others are finished.

    Parameters
    ----------
    inputs
        Pictures, folders, globs, or lists of them. `NAME_*.png` beside `NAME.jpg` is a truth and left out.
    task
        depth, normals, semantic, referring, instances, detection, parts, saliency, boundary; several with commas; all.
        With instruct the prompt says what to do, as in --prompt "how far away is every pixel".
    model
        "embedded", a folder, a known name (marigold-depth, marigold-normals) or a hub id OWNER/NAME[@REVISION].
    steps
        Denoising steps (default: the model's own).
    stop_at
        Leave them once the next noise level in [0, 1) is below this one (default: the model's own; 0: never).
    ensemble
        Members that are merged into one answer, with a map of uncertainty.
    mirror
        The mean of what is seen in a picture and in its mirror image; of models that are read out.
    prompt
        What is asked about every picture: the thing to segment, or an instruction.
    sampler
        ddim, euler, dpmpp-2m, euler-ancestral or ddpm.
    ensemble_method
        closed-form, or marigold for the numbers of diffusers' Marigold pipelines.
    overwrite
        Predict again what is done already.
    """
    if not inputs:
        raise UsageError("No pictures were named; give files, folders or globs: denoisight predict photos/ -o out")
    from ..data.inputs import find_images

    found = find_images(inputs)
    for note in found.notes:
        log.info("%s", note)

    import torch

    from ..annotations import Query
    from ..data.images import read_image
    from ..predict.load import load
    from ..predict.options import Options
    from ..predict.prediction import Prediction
    from ..runtime import use_threads
    from ..tasks.instruct import INSTRUCT, understand

    use_threads(threads)
    asked = load(model, device, precision, allow_pickle)
    names = list(asked.tasks) if task == "all" else task.split(",")
    for name in names:
        if name != INSTRUCT:
            asked.task(name, route)
    log.info(
        "device %s, %d threads, seed %d, %d pictures, into %s",
        asked.parts.backbone.device,
        torch.get_num_threads(),
        seed,
        len(found.items),
        out,
    )

    options = Options(
        steps, ensemble, res, route, seed, batch, sampler=sampler, ensemble_method=ensemble_method, stop_at=stop_at,
        mirror=mirror,
    )  # fmt: skip
    written: list[str] = []
    bad: dict[str, str] = {}
    skipped = 0
    for name in names:
        written_as = {i.key: understand(prompt or i.text)[0] if name == INSTRUCT else name for i in found.items}
        todo = [i for i in found.items if overwrite or not Prediction.is_saved(out, i.key, written_as[i.key])]
        skipped += len(found.items) - len(todo)
        for start in range(0, len(todo), batch):
            queries = []
            for item in todo[start : start + batch]:
                try:
                    queries.append(Query(read_image(item.path), prompt or item.text, item.key))
                except DataError as error:
                    bad[item.key] = str(error)
            stream = asked.stream(queries, name, options)
            for prediction in stream:
                written += [str(path) for path in prediction.save(out)]
            if not quiet and queries:
                log.info("%s: %d of %d", name, start + len(queries), len(todo))
    if json_:
        json.dump({"written": written, "skipped": skipped, "failed": bad}, sys.stdout, indent=2)
        print()
    if skipped:
        log.info("%d were done already and skipped; predict them again with --overwrite.", skipped)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(found.items)} pictures could not be read; the others are in {out}. "
            f"{shortlist(bad.values())}"
        )
    log.info("Wrote %d files into %s.", len(written), out)
