"""denoisight create"""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import DataError, UsageError, shortlist
from .flags import AllowPickle, Batch, Device, Out, Precision, Quiet, Seed, Threads

log = logging.getLogger(__name__)

PER_IMAGE = 4


def create(
    *,
    model: str = "embedded",
    allow_pickle: AllowPickle = False,
    prompt: list[str] | None = None,
    prompts: Path | None = None,
    image: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    data: str = "",
    split: str = "train",
    per_image: int = PER_IMAGE,
    noise_level: Annotated[str, Parameter(name=("--noise-level", "--strength"))] = "",
    noise: Literal["gaussian", "inversion", "multires"] = "gaussian",
    captions: str = "text",
    avoid: Annotated[list[str] | None, Parameter(negative="")] = None,
    task: str = "",
    route: Literal["readout", "denoise", "both"] | None = None,
    ensemble: int = 1,
    consistency: Annotated[bool, Parameter(negative="")] = False,
    exact: Annotated[bool, Parameter(negative="")] = False,
    mirror: Annotated[bool, Parameter(negative="")] = False,
    min_confidence: float = 0.0,
    min_valid: float = 0.3,
    min_distance: float = 0.02,
    min_contrast: float = 0.02,
    max_saturated: float = 0.5,
    keep_empty: Annotated[bool, Parameter(negative="")] = False,
    balance: float = 0.0,
    format: Literal["shards", "folder"] = "shards",
    shard_size: int = 100,
    num_shards: int | None = None,
    shard: int | None = None,
    engine: Literal["local", "ray"] = "local",
    workers: int = 2,
    out: Out = Path("created"),
    num: int = 1,
    steps: int | None = None,
    sampler: str = "",
    eta: float = 0.0,
    guidance: float | None = None,
    image_guidance: float | None = None,
    negative: str = "",
    res: int | None = None,
    seed: Seed = 0,
    batch: Batch = 16,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Create images from captions, labelled images from a data set, or edits of photographs.

    The same command goes on where it was stopped. From captions (--prompt): rgb/000001.png, ... with their captions in
    metadata.jsonl. From a data set (--data): each image is noised in part and denoised under its caption, and the model
    labels what comes out; pairs are written as shards (tar files with a manifest) that can be given as --data wherever
    labelled images can. With --image and an InstructPix2Pix folder as the model, each photograph is changed as each
    prompt says. A contact sheet is sheet.png.

    Parameters
    ----------
    model
        "embedded", a folder, a known name (sd-1.5, sd-2.1, ...) or a hub id OWNER/NAME[@REVISION].
    prompt
        A caption, in which "a red box, not a sphere" is kept away from spheres, or an instruction such as "make it
        snow"; may be given several times.
    prompts
        A text file with a caption or instruction a line.
    image
        Photographs to edit: files, folders, globs, or lists of them.
    data
        What to make labelled images of: whatever can be trained on (a folder, scenes:N, ...); labels are not needed.
        The embedded model has seen scenes alone; of photographs let one create that learnt how they look
        (`improve --adapt-time 20m`), or Stable Diffusion.
    split
        The split of --data: train, val, test or all.
    per_image
        Images made of each image of --data.
    noise_level
        How far an image is noised, above 0 (nothing changes) to 1 (nothing stays); LOW:HIGH draws one for each image
        (default: 0.6).
    noise
        gaussian, multires (coarse as well as fine), or inversion (the noise that leads back to the image, which words
        to --avoid and --guidance then change).
    captions
        text (the data set's own), labels ("a photo of sky, road and car"), none (no words), or a .csv or .jsonl file of
        key and caption. In a file "a red box, not a sphere" is kept away from spheres.
    avoid
        Words that images of --data are kept away from; may be given several times.
    task
        Labels to write, several with commas (default: all that the model knows). With --prompt, labels these images.
    route
        How the model perceives: readout, denoise, or both, whose disagreement is a doubt of its own (default: as
        it learnt).
    ensemble
        Members of the denoise route; their spread is the doubt.
    consistency
        Doubt depth and normals where they contradict each other: where a surface leans another way than depth recedes,
        which needs no camera to be known. How steeply it leans is not judged.
    exact
        Keep metric depth as float32, not in whole millimetres.
    mirror
        By features, labels are the mean of what is seen in an image and in its mirror image, for one more pass.
    min_confidence
        Pixels less sure than this, 0 to 1, become invalid. Labels of which nothing tells how sure they are stay as they
        are, which is said.
    min_valid
        Drop pairs with a smaller share of valid pixels in any label (0: none).
    min_distance
        Drop images that differ less from their source, or from each other: root mean square of colours in [0, 1],
        shrunk to 16x16 (0: none).
    min_contrast
        Drop images with a smaller standard deviation of colours, in [0, 1] (0: none).
    max_saturated
        Drop images with a larger share of black or white pixels, beyond that of the source (1: none).
    keep_empty
        Keep pairs of which a label marks nothing.
    balance
        The share of source images from which a semantic class counts as frequent (0: off). A created image is kept with
        the chance of the rarest class in its own semantic label, sqrt(balance / f), f being the share of source images
        (of up to 256) that show the class; 1 where f is below balance. So images of frequent classes alone are thinned
        out. It is no quota: none are made instead, and what was created is not counted. The source needs semantic
        labels with the model's classes.
    format
        shards, or a folder of pictures with truths beside them.
    shard_size
        About so many images a shard; all those of one source stay together.
    num_shards
        Divide the shards among so many jobs (default: the ranks of torchrun or SLURM) ...
    shard
        ... of which this is one, from 0.
    engine
        local, or ray: the cluster at RAY_ADDRESS, or --workers on this machine.
    workers
        Actors that Ray starts where it has no cluster.
    num
        Images of each caption, or edits of each photograph by each instruction.
    steps
        Denoising steps (default: 25; of edits the model's own).
    sampler
        ddim, euler, dpmpp-2m, ddpm or euler-ancestral (default: dpmpp-2m for images of --data without --eta and
        inversion, else ddim).
    eta
        Fresh noise at each step of the sampler ddim, 0 (none) to 1 (as much as ddpm draws).
    guidance
        How strongly the words steer: 0 is not at all (one less than guidance_scale elsewhere; default: 2, of edits
        6.5, of images of --data 0, or 1 where something is avoided).
    image_guidance
        How strongly an edit keeps to the photograph, likewise (default: 0.5).
    negative
        Words to steer away from where a caption does not say itself what to avoid.
    res
        Side in pixels (default: the model's own); of images of --data the longest side, 0 for each one's own; of edits
        the longest side (default: the photograph's own).
    batch
        Images in one network pass; edits are made one by one.
    """
    words = [*(prompt or []), *(_lines(prompts) if prompts else [])]
    if bool(words) == bool(data):
        what = "both words and data" if data else "neither words nor data"
        raise UsageError(
            f'There are {what}; give --prompt "a red box on a wooden floor", --prompts FILE, or --data DIR.'
        )
    if num < 1:
        raise UsageError(f"--num {num} asks for no images; give 1 or more.")
    if image_guidance is not None and not image:
        raise UsageError("--image-guidance is about edits; name the photographs with --image, or leave it out.")
    if eta and image:
        raise UsageError("--eta is about created images, not edits; leave it out.")
    if data and image:
        raise UsageError("--data and --image were given; photographs are edited by --prompt, a data set is varied.")
    if not data and (noise_level or avoid or captions != "text"):
        raise UsageError("--noise-level, --avoid and --captions are about images of a data set; name one with --data.")
    if data and num > 1:
        raise UsageError("--num is about captions and edits; of --data, give --per-image.")
    if not data and per_image != PER_IMAGE:
        raise UsageError("--per-image is about images of --data; of captions, give --num.")
    if image and task:
        raise UsageError("--image and --task were given; edits have no labels: leave --task out.")
    if (num_shards is None) != (shard is None):
        raise UsageError("--num-shards N and --shard i belong together: one of N jobs, the i-th from 0.")

    from ..create.filters import Filters

    filters = Filters(
        min_confidence=min_confidence, min_valid=min_valid, min_distance=min_distance, min_contrast=min_contrast,
        max_saturated=max_saturated, empty=keep_empty, balance=balance,
    )  # fmt: skip
    labelling = {
        "route": route, "ensemble": ensemble > 1, "consistency": consistency, "exact": exact, "mirror": mirror,
        "shard": shard is not None, "engine": engine != "local", "noise": noise != "gaussian",
    }  # fmt: skip
    labelling |= {name: value != getattr(Filters(), name) for name, value in vars(filters).items()}
    labelling["keep_empty"] = labelling.pop("empty")
    if not data and not task and (idle := [name for name, asked in labelling.items() if asked]):
        raise UsageError(
            f"--{idle[0].replace('_', '-')} is about labelled pictures; name --task, or --data, or leave it out."
        )
    from ..create.edit import Editing
    from ..create.folder import create_folder, edit_folder, write_sheet
    from ..create.synthesize import Creation
    from ..data.inputs import find_images
    from ..data.paired import written
    from ..predict.load import load
    from ..recipes.create import Order, create_pairs
    from ..runtime import use_threads, world

    use_threads(threads)
    if data or task:
        tasks = () if task in ("", "all") else tuple(name.strip() for name in task.split(","))
        order = Order(
            model, device, precision, allow_pickle, data, split, tuple(words), num, per_image, noise_level, noise,
            captions, tuple(avoid or ()), tasks, route, ensemble, consistency, exact, mirror, filters,
            steps, sampler, eta, guidance, negative, res, seed, batch,
        )  # fmt: skip
        create_pairs(order, out, format, shard_size, (shard, num_shards), engine, workers)
        return
    if (ranks := world()[1]) > 1:
        raise UsageError(
            f"{ranks} processes were started, but images without labels are written by one; start one alone. Several "
            "write labelled ones: --data, or --prompt with --task."
        )
    opened = load(model, device, precision, allow_pickle)
    asked = {"steps": steps, "guidance": guidance, "image_guidance": image_guidance}
    how: dict[str, Any] = {"sampler": sampler or "ddim", "negative": negative, "seed": seed}
    how |= {name: value for name, value in asked.items() if value is not None}
    failed: dict[str, str] = {}
    if image:
        found, editing = find_images(image), Editing(**how, res=res or 0)
        for note in found.notes:
            log.info("%s", note)
        made, failed = edit_folder(opened, found.items, words, out, editing, num)
    else:
        creation = Creation(**how, size=(res, res) if res else None, batch=batch, eta=eta)
        # All captions once before any comes again, so that asking for more images later adds to the folder.
        made = create_folder(opened, words * num, out, creation)
    if there := len(written(out)):
        if not quiet:
            log.info("Made %d images in %s, which holds %d.", made, out, there)
        log.info("%s", write_sheet(out))
    if failed:
        raise DataError(f"{len(failed)} photographs could not be read: {shortlist(failed.values())}")


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); give a file with a caption a line.") from error
    return [line.strip() for line in lines if line.strip()]
