"""One model for many tasks, asked for in words alone."""

from .base import Augmentation, Noise, Recipe, Teaching
from .embedded import SCENES

TASKS = ("depth", "semantic", "referring", "detection")
CODECS = {"referring": "paint", "detection": "paint"}
"""What can be shown on the image is drawn as an edit of it."""


def generalist(tasks: tuple[str, ...] = TASKS, data: str = "") -> Recipe:
    """denoisight train --recipe generalist --model SD_FOLDER

    As InstructCV (Gan et al., ICLR 2024): every task is asked for by an instruction, each time another paraphrase, and
    what can be shown on the image is an edit of it. Words, image and both are dropped with 5 % each, as InstructPix2Pix
    does. Begins at the embedded model, at nothing (`--model new`), or at a stock folder, whose weights want less haste
    (`--optim.lr 1e-4`) or `--lora 16`. Its law over timesteps is the best of `studies/addp_generalist`, where one
    denoising step is best of all tasks but detection, whose frames take ten. What a long run reaches is not known.
    """
    learnt = tasks or TASKS
    return Recipe(
        recipe="generalist",
        tasks=learnt,
        data=data or SCENES,
        codecs={name: codec for name, codec in CODECS.items() if name in learnt},
        batch=8,
        noise=Noise(timesteps="ct2"),
        teaching=Teaching(drop=0.05, balance=True, paraphrase=1.0),
        augment=Augmentation(colour=0.0),
        predict_steps=1,
    )
