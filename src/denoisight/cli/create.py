"""denoisight create"""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import DataError, UsageError, shortlist

log = logging.getLogger(__name__)


def create(
    *,
    model: str = "embedded",
    allow_pickle: Annotated[bool, Parameter(negative="")] = False,
    prompt: list[str] | None = None,
    prompts: Path | None = None,
    image: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("created"),
    num: int = 1,
    steps: int | None = None,
    sampler: str = "ddim",
    guidance: float | None = None,
    image_guidance: float | None = None,
    negative: str = "",
    res: int | None = None,
    seed: int = 0,
    batch: int = 16,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    device: str = "auto",
    threads: int = 0,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> None:
    """Create images from captions, or edit photographs by instructions; the same command goes on where it was stopped.

    Writes rgb/000001.png, ... with their captions in metadata.jsonl, and a contact sheet sheet.png. With --image and
    an InstructPix2Pix folder as the model, each photograph is changed as each prompt says.

    Parameters
    ----------
    model
        "embedded", a folder, a known name (sd-1.5, sd-2.1, ...) or a hub id OWNER/NAME[@REVISION].
    allow_pickle
        Open a model of which there are only pickles (.bin); of safetensors there is no need.
    prompt
        A caption, or an instruction such as "make it snow"; may be given several times.
    prompts
        A text file with a caption or instruction a line.
    image
        Photographs to edit: files, folders, globs, or lists of them.
    num
        Images of each caption, or edits of each photograph by each instruction.
    steps
        Denoising steps (default: 25; of edits the model's own).
    guidance
        How strongly the words steer: 0 is not at all (one less than guidance_scale elsewhere; default: 2, of edits
        6.5).
    image_guidance
        How strongly an edit keeps to the photograph, likewise (default: 0.5).
    negative
        Words to steer away from.
    res
        Side in pixels (default: the model's own); of edits the longest side (default: the photograph's own).
    batch
        Images in one network pass; edits are made one by one.
    """
    captions = [*(prompt or []), *(_lines(prompts) if prompts else [])]
    if not captions:
        raise UsageError('No words were given; write --prompt "a red box on a wooden floor", or --prompts FILE.')
    if num < 1:
        raise UsageError(f"--num {num} asks for no images; give 1 or more.")
    if image_guidance is not None and not image:
        raise UsageError("--image-guidance is about edits; name the photographs with --image, or leave it out.")

    import torch

    from ..create.edit import Editing
    from ..create.folder import create_folder, edit_folder, write_sheet
    from ..create.synthesize import Creation
    from ..data.inputs import find_images
    from ..data.paired import written
    from ..predict.load import load

    if threads:
        torch.set_num_threads(threads)
    opened = load(model, device, precision, allow_pickle)
    asked = {"steps": steps, "guidance": guidance, "image_guidance": image_guidance}
    how: dict[str, Any] = {"sampler": sampler, "negative": negative, "seed": seed}
    how |= {name: value for name, value in asked.items() if value is not None}
    failed: dict[str, str] = {}
    if image:
        found, editing = find_images(image), Editing(**how, res=res or 0)
        for note in found.notes:
            log.info("%s", note)
        made, failed = edit_folder(opened, found.items, captions, out, editing, num)
    else:
        creation = Creation(**how, size=(res, res) if res else None, batch=batch)
        # All captions once before any comes again, so that asking for more images later adds to the folder.
        made = create_folder(opened, captions * num, out, creation)
    if there := len(written(out)):
        if not quiet:
            log.info("Made %d images in %s, which holds %d.", made, out, there)
        log.info("%s", write_sheet(out))
    if failed:
        raise DataError(f"{len(failed)} photographs could not be read: {shortlist(failed.values())}")


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); give a file with a caption a line.") from error
    return [line.strip() for line in lines if line.strip()]
