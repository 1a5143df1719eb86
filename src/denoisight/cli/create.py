"""denoisight create"""

import logging
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import DataError, UsageError

log = logging.getLogger(__name__)


def create(
    *,
    model: str = "embedded",
    allow_pickle: Annotated[bool, Parameter(negative="")] = False,
    prompt: list[str] | None = None,
    prompts: Path | None = None,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("created"),
    num: int = 1,
    steps: int = 25,
    sampler: str = "ddim",
    guidance: float = 2.0,
    negative: str = "",
    res: int | None = None,
    seed: int = 0,
    batch: int = 16,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    device: str = "auto",
    threads: int = 0,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> None:
    """Create images from captions; the same command goes on where it was stopped.

    Writes rgb/000001.png, ... with their captions in metadata.jsonl, and a contact sheet sheet.png.

    Parameters
    ----------
    model
        "embedded", a folder, a known name (sd-1.5, sd-2.1, ...) or a hub id OWNER/NAME[@REVISION].
    allow_pickle
        Open a model of which there are only pickles (.bin); of safetensors there is no need.
    prompt
        A caption; may be given several times.
    prompts
        A text file with a caption a line.
    num
        Images of each caption.
    guidance
        How strongly the words steer: 0 is not at all (one less than guidance_scale elsewhere).
    negative
        Words to steer away from.
    res
        Side in pixels (default: the model's own).
    """
    captions = [*(prompt or []), *(_lines(prompts) if prompts else [])]
    if not captions:
        raise UsageError('No captions were given; write --prompt "a red box on a wooden floor", or --prompts FILE.')
    if num < 1:
        raise UsageError(f"--num {num} asks for no images; give 1 or more.")

    import torch

    from ..create.folder import create_folder, write_sheet
    from ..create.synthesize import Creation
    from ..predict.load import load

    if threads:
        torch.set_num_threads(threads)
    how = Creation(steps, sampler, guidance, negative, seed, (res, res) if res else None, batch)
    # All captions once before any comes again, so that asking for more images later adds to the folder.
    every = captions * num
    made = create_folder(load(model, device, precision, allow_pickle), every, out, how)
    if not quiet:
        log.info("Created %d images in %s, %d were there.", made, out, len(every) - made)
    log.info("%s", write_sheet(out))


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); give a file with a caption a line.") from error
    return [line.strip() for line in lines if line.strip()]
