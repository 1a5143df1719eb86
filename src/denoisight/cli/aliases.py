"""Flags by the names that people know from elsewhere."""

from collections.abc import Iterator, Sequence

ALIASES = {
    "--checkpoint": "--model",
    "--pretrained-model-name-or-path": "--model",
    "--output-dir": "--out",
    "--outdir": "--out",
    "--work-dir": "--out",
    "--denoise-steps": "--steps",
    "--num-inference-steps": "--steps",
    "--max-train-steps": "--steps",
    "--ensemble-size": "--ensemble",
    "--processing-res": "--res",
    "--mixed-precision": "--precision",
    "--resume-from-checkpoint": "--resume",
    "--resume-run": "--resume",
    "--report-to": "--log-with",
    "--train-data-dir": "--data",
    "--timesteps": "--noise.timesteps",
    "--rho": "--noise.rho",
    "--gt-augment": "--gt-augment.kinds",
}
HALF = {"--fp16", "--half-precision"}
INPUTS = {"--input", "--input-rgb-dir", "--img-path"}
"""Before what is a positional word here."""

COMPATIBLE = "Compatible names: " + ", ".join(
    [*(f"{alias} = {name}" for alias, name in ALIASES.items()), f"{' = '.join(sorted(HALF))} = --precision fp16"]
)


def translate(words: Sequence[str]) -> list[str]:
    """The words in our own names; a bare --resume resumes the latest checkpoint."""
    return list(_translate(words))


def _translate(words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        name = flag.replace("_", "-") if flag.startswith("--") else flag
        if name in INPUTS:
            yield from [value] if equals else []
        elif name in HALF:
            yield from ("--precision", "fp16")
        else:
            yield ALIASES.get(name, flag) + equals + value
        if ALIASES.get(name, name) == "--resume" and not equals:
            following = words[place + 1 : place + 2]
            if not following or following[0].startswith("-"):
                yield "latest"
