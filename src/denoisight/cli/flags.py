"""Flags that several verbs have, each with its words."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

AllowPickle = Annotated[
    bool,
    Parameter(
        negative="", help="Open a model of which there are only pickles (.bin); of safetensors there is no need."
    ),
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print what is told as JSON.")]
Batch = Annotated[int, Parameter(help="Images in one network pass.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda[:i] or mps.")]
Out = Annotated[Path, Parameter(name=("--out", "-o"), help="The folder to write to.")]
Precision = Annotated[Literal["fp32", "bf16", "fp16"], Parameter(help="Of the network's passes.")]
Quiet = Annotated[
    bool, Parameter(name=("--quiet", "-q"), negative="", help="Say nothing but what goes wrong or may go wrong.")
]
Res = Annotated[
    int | None,
    Parameter(
        help="Longest side in pixels at which the network works; 0 for the picture's own (default: the model's)."
    ),
]
Route = Annotated[
    Literal["denoise", "readout"] | None,
    Parameter(help="How the model perceives: by denoising, or by reading its features (default: as it learnt)."),
]
Seed = Annotated[int, Parameter(help="With it, the input, the settings and the versions, a result is determined.")]
Threads = Annotated[int, Parameter(help="CPU threads of the network; 0: as torch chooses.")]
