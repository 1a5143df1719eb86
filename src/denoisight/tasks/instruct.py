"""Tasks asked for in free words: templates with paraphrases, and back from words to the task.

One model that answers instructions is trained on these in place of the tasks' own short prompts, as InstructCV
does (Gan et al., ICLR 2024).
"""

from __future__ import annotations

from ..errors import UsageError

INSTRUCT = "instruct"
"""What a model lists among its tasks when it was taught to follow instructions."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "depth": (
        "estimate the depth of this image",
        "predict the depth map of this picture",
        "how far away is every pixel",
        "show the distance of everything in the scene",
    ),
    "normals": (
        "estimate the surface normals of this image",
        "predict the normal map of this picture",
        "which way is every surface facing",
        "show where each surface is turned",
    ),
    "semantic": (
        "label every pixel with its class",
        "predict the semantic labels of this picture",
        "what is each pixel of this image",
        "paint every class in its colour",
    ),
    "boundary": (
        "draw the boundaries of all objects",
        "find the edges of the things in this picture",
        "show the outline of every object",
        "where are the object edges",
    ),
    "saliency": (
        "find the salient object",
        "which object is most visible in this picture",
        "mark the thing that stands out",
        "show the most salient thing in the image",
    ),
    "instances": (
        "separate all objects in this image",
        "find every single thing in this picture",
        "show each object by itself",
        "predict the instances in this image",
    ),
    "detection": (
        "detect all objects",
        "put a box around every thing",
        "where are the boxes of all things",
        "draw a frame around each object",
    ),
    "parts": (
        "label the parts of every object",
        "which part of a thing is each pixel",
        "predict the parts of all objects",
        "show the top and the side of every thing",
    ),
    "referring": (
        "segment {text}",
        "mark {text}",
        "find {text} in this picture",
        "show where {text} is",
    ),
}
"""Paraphrases of each task's instruction, in words that the embedded text encoder knows; no two tasks share one."""


def paraphrase(task: str, text: str, choice: int) -> str:
    """The `choice`-th paraphrase (counted round) of a task's instruction, about `text` where it has a subject."""
    templates = TEMPLATES[task]
    return templates[choice % len(templates)].replace("{text}", text)


def understand(instruction: str) -> tuple[str, str]:
    """The task that an instruction asks for, and what it is about: ("referring", "the red box").

    An instruction may be any template, in any case and with any punctuation at its end. Raises `UsageError`
    showing one template of each task where none fits.
    """
    said = " ".join(instruction.lower().split()).rstrip(".?!")
    for task, templates in TEMPLATES.items():
        if said in templates:
            return task, ""
    for template in TEMPLATES["referring"]:
        before, after = template.split("{text}")
        if said.startswith(before) and said.endswith(after) and len(said) > len(before) + len(after):
            return "referring", said.removeprefix(before).removesuffix(after)
    known = "; ".join(templates[0] for templates in TEMPLATES.values())
    raise UsageError(f"No task is known that {instruction!r} asks for; say it like one of these: {known}.")
