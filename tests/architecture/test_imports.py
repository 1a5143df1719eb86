"""Upper rooms may import lower ones, never the reverse; rooms on one line do not know each other."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "denoisight"

LINES = [
    {"__main__"},
    {"cli"},
    {"recipes"},
    {"train", "report"},
    {"create", "evaluate"},
    {"predict"},
    {"data", "tasks", "models"},
    {"codecs", "diffusion", "metrics"},
    {"render"},
    {"annotations", "runtime"},
    {"errors", "vectors", "version"},
]
HEIGHT = {room: len(LINES) - i for i, line in enumerate(LINES) for room in line}

NO_FILES = {"codecs", "diffusion", "metrics"}
LIBRARIES_OF_MODELS = {"diffusers": {"models", "train"}, "transformers": {"models"}, "huggingface_hub": {"models"}}
FORBIDDEN = {"torchvision", "cv2", "timm", "lpips"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__"]


def imported(path: Path) -> set[tuple[str, ...]]:
    """Every imported module as a path of names, relative ones from the package's root."""
    package = ("denoisight", *path.relative_to(SOURCE).parts[:-1])
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            found |= {module} if len(module) > 1 or not node.level else {(*module, a.name) for a in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_rooms_import_downwards(path: Path) -> None:
    room = room_of(path)
    for module in imported(path):
        if module[0] == "denoisight" and len(module) > 1 and module[1] != room:
            assert HEIGHT[module[1]] < HEIGHT[room], f"{room} may not import {'.'.join(module)}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_foreign_libraries_stay_in_their_rooms(path: Path) -> None:
    room = room_of(path)
    for module in imported(path):
        assert module[0] not in FORBIDDEN
        assert room in LIBRARIES_OF_MODELS.get(module[0], {room}), f"{room} may not import {module[0]}"


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) in NO_FILES], ids=lambda p: p.name)
def test_pure_rooms_open_no_file(path: Path) -> None:
    names = {n.id for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Name)}
    assert not names & {"open", "Path"}


def test_every_room_has_a_height() -> None:
    assert {room_of(path) for path in modules()} <= set(HEIGHT)
