"""The command line: a table of verbs, and what happens to an error. Verbs are imported when they are called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from ..errors import DenoisightError
from ..version import __version__
from .aliases import COMPATIBLE, translate


def _say(error: CycloptsError) -> str:
    """One sentence about a call that is wrong; of a value that a recipe refuses, which key and why."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        first = error.__cause__.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        return f"denoisight: --{key.replace('_', '-')} {first['input']}: {first['msg'].lower()}."
    return f"denoisight: {error}"


app = App(
    name="denoisight",
    error_formatter=_say,
    version=__version__,
    help="One diffusion model that makes labelled images and sees.",
    help_format="markdown",
    help_epilogue=COMPATIBLE,
)
data = App(name="data", help="Look at labelled folders: list, validate, stats, preview, render, export.")
config = App(name="config", help="Show the recipe of a run, or the schema of recipes.")

VERBS = {
    "demo": ("demo:demo", "The main job in five minutes: predict, adapt to forty labelled images, report."),
    "train": ("train:train", "Teach a model a task from a folder of labelled images."),
    "predict": ("predict:predict", "Predict depth, normals or labels for files, folders, globs and lists."),
    "refer": ("refer:refer", "Segment what a phrase means, and correct the answer in words."),
    "create": ("create:create", "Create images from captions, or labelled images from a data set."),
    "improve": ("improve:improve", "Create images like yours, label them, and learn from them."),
    "evaluate": ("evaluate:evaluate", "Judge a model by a frozen protocol, beside trivial baselines."),
    "judge": ("judge:judge", "How good created images and their labels are, beside real ones."),
    "analyze": (
        "analyze:analyze",
        "What every denoising step brings: curves, causes of a late loss, how many to take.",
    ),
    "report": ("report:report", "Write a run folder's report again as one HTML page."),
    "doctor": ("doctor:doctor", "Versions, device, threads, disk, and what is wrong with them."),
}
DATA_VERBS = {
    "list": ("data:list_readers", "The kinds of folders that can be read, and the protocols' data."),
    "validate": ("data:validate", "List every bad item of a folder; exits 3 if there is one."),
    "stats": ("data:stats", "Count, sizes, depth range and class shares of a folder."),
    "preview": ("data:preview", "Draw a contact sheet of a folder or of scenes."),
    "render": ("data:render", "Write procedural scenes to disk as a labelled folder."),
    "export": ("data:export", "Write labelled images as COCO, as a labelled folder, or as shards."),
}
CONFIG_VERBS = {
    "show": ("config:show", "Print a recipe as YAML, with overrides applied."),
    "schema": ("config:schema", "Print the JSON schema of recipes."),
}

for group, verbs in ((app, VERBS), (data, DATA_VERBS), (config, CONFIG_VERBS)):
    for verb, (target, about) in verbs.items():
        group.command(f"denoisight.cli.{target}", name=verb, help=about)
app.command(data)
app.command(config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 when all went well, else the code of the error (see `errors.py`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    quiet = bool({"-q", "--quiet"} & set(words))
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpx2", "urllib3", "matplotlib", "PIL", "accelerate", "openai"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        words = translate([word for word in words if word != "--debug"])
        _tell_in_full(words)
        app(words, exit_on_error=True)
    except DenoisightError as error:
        if debug:
            raise
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("Interrupted.", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _tell_in_full(words: Sequence[str]) -> None:
    """In a list of verbs one line stands for each; the help of one is all that its function says of itself."""
    named = [word for word in words if word not in app.help_flags]
    verb = app.parse_commands(named)[1][-1]
    if named != words and verb.default_command:
        verb.help = None


def _leave(message: str, code: int) -> None:
    print(f"denoisight: {message}", file=sys.stderr)
    sys.exit(code)
