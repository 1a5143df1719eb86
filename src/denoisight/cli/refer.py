"""denoisight refer"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ..errors import UsageError, shortlist
from .flags import AllowPickle, AsJson, Device, Out, Precision, Quiet, Res, Seed, Threads

if TYPE_CHECKING:
    from ..predict.critics import Critic
    from ..predict.puzzle import Puzzle
    from ..predict.session import Turn

log = logging.getLogger(__name__)


def refer(
    image: str,
    phrase: str = "",
    *,
    avoid: Annotated[list[str] | None, Parameter(name=("--avoid", "--negative-prompt"), negative="")] = None,
    guidance: float | None = None,
    guide: tuple[float, float] = (0.0, 1.0),
    negatives: Literal["mean", "sum"] = "mean",
    image_guidance: float = 0.0,
    critic: Literal["none", "person", "oracle", "random", "openai"] = "none",
    rounds: int = 3,
    llm: str = "",
    base_url: str | None = None,
    caption: str = "",
    interactive: Annotated[bool, Parameter(negative="")] = False,
    out: Out = Path("referred"),
    model: str = "embedded",
    allow_pickle: AllowPickle = False,
    steps: int | None = None,
    res: Res = None,
    seed: Seed = 0,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = 0,
    json_: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Segment what a phrase means, and correct the answer in words.

    For each turn the mask and an overlay (turn-01_*), and of all turns the questions (session.json) and a sheet
    (sheet.png). What is written stands, whatever happens in later turns.

    Parameters
    ----------
    image
        A picture, or a procedural scene as scenes:SPLIT:NUMBER, whose own phrase is taken where none is given.
    phrase
        What to look for, as "the red box".
    avoid
        What the phrase was confused with; may be given several times, and each is a turn of its own.
    guidance
        How strongly the words steer, 0 to 10 (default: 1 with something to avoid, else 0).
    guide
        The two noise levels in [0, 1] between which guidance acts.
    negatives
        mean shares guidance out among what is avoided, sum gives it to each.
    image_guidance
        Guidance towards the picture, for models that edit.
    critic
        Who corrects: none, person (asks you), oracle (the truth) or random, both for scenes alone, or openai.
    rounds
        At most so many corrections by the critic, 1 to 10.
    llm
        The chat model of --critic openai. Its key is DENOISIGHT_LLM_KEY, else OPENAI_API_KEY.
    base_url
        A server that speaks OpenAI's protocol, such as http://localhost:8000/v1; one of your own may need no key.
    caption
        What is in the picture, for the chat model (default: a scene's own).
    interactive
        Take phrases and commands from the terminal or a pipe: avoid PHRASE, undo, redo, history, go N, save FILE, quit.
    model
        "embedded", a folder, a known name or a hub id OWNER/NAME[@REVISION] that learnt referring.
    steps
        Denoising steps (default: the model's own).
    """
    if interactive and critic != "none":
        raise UsageError("With --interactive you are the critic; leave --critic out.")
    if critic == "openai" and not llm:
        raise UsageError("--critic openai asks a chat model; name it with --llm.")

    import torch

    from ..predict.critics import check_rounds, correct
    from ..predict.folder import describe, share, write_turn
    from ..predict.load import load
    from ..predict.options import Options
    from ..predict.puzzle import open_puzzle
    from ..predict.session import Session
    from ..runtime import use_threads
    from .terminal import converse

    use_threads(threads)
    check_rounds(rounds)
    options = Options(
        steps, res=res, seed=seed, guidance=guidance, guide=guide, negatives=negatives, image_guidance=image_guidance
    )  # fmt: skip
    puzzle = open_puzzle(image, phrase)
    if not (puzzle.phrase.strip() or interactive):
        raise UsageError('No phrase was given; write what to look for: denoisight refer photo.jpg "the red box"')
    asks = _critic(critic, puzzle, image, seed, llm, base_url, caption)
    session = Session(load(model, device, precision, allow_pickle), puzzle.query, options=options)
    place = session.model.parts.backbone.device
    log.info("device %s, %d threads, seed %d, into %s", place, torch.get_num_threads(), seed, out)
    written: dict[int, list[str]] = {}

    def show(turn: Turn | None) -> None:
        if turn is not None and turn.number not in written:
            written[turn.number] = [str(path) for path in write_turn(session, turn, out)]
        line = "At the start: nothing is asked."
        if turn is not None:
            mask = next(path for path in written[turn.number] if path.endswith(".png"))
            line = f"{describe(turn)} {mask}"
        if json_:
            log.info("%s", line)
        else:
            print(line, flush=True)

    if puzzle.phrase.strip():
        show(session.refer(puzzle.phrase))
        for each in avoid or ():
            show(session.avoid(each))
    if asks:
        correct(session, asks, rounds, show)
    if interactive:
        converse(session, show)
    if session.history:
        session.save(out / "session.json")
        log.info("All turns are in %s", out / "sheet.png")
    if json_:
        turns = [
            {"number": t.number, "phrase": t.phrase, "avoid": t.avoid, "share": share(t), "files": written[t.number]}
            for t in session.history
        ]
        print(json.dumps({"turns": turns, "folder": str(out)}, indent=2))


def _critic(
    name: str, puzzle: Puzzle, image: str, seed: int, llm: str, base_url: str | None, caption: str
) -> Critic | None:
    from ..predict.chat import chat
    from ..predict.critics import chance, oracle, person

    if name == "person":
        return person(input)
    if name == "openai":
        return chat(llm, caption or puzzle.caption, base_url=base_url)
    if name == "none":
        return None
    if puzzle.truth is None:
        phrases = shortlist(map(repr, puzzle.phrases), 20)
        known = f"of {image} known for {phrases}" if phrases else "known for scenes"
        raise UsageError(f"--critic {name} needs the truth, which is {known} alone; give one, or another critic.")
    if name == "oracle":
        return oracle(puzzle.truth, puzzle.confusers)
    return chance([words for words, _ in puzzle.confusers], seed)
