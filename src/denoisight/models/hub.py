"""From a known name or a hub id to a folder in the hub's cache. The only file that asks the network for anything.

The cache, tokens, time-outs and offline mode are huggingface_hub's own (HF_HOME, HF_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT,
HF_HUB_OFFLINE); its files are whole or absent, and a download that was cut off goes on where it stopped.
"""

from __future__ import annotations

import logging
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants, errors

from ..errors import WeightsError
from .files import DESCRIPTIONS, OURS, listing, needed
from .known import KNOWN, Source
from .stock import check_family, is_stock

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds that the hub has to answer what it holds."""

# requests raises OSErrors and httpx HTTPErrors (huggingface_hub went from one to the other); Xet's are neither.
_FAILURES = (OSError, ValueError, RuntimeError, errors.HTTPError, getattr(errors, "XetDownloadError", OSError))


def fetch(source: Source, allow_pickle: bool = False) -> Path:
    """The folder of some weights: from the cache as it lies there, else from the first mirror that has them.

    A cached snapshot is not compared with the hub's, so that answers stay the same; a revision asks for another.
    Raises `WeightsError` (exit 5) saying of each mirror why it failed, and what to do.
    """
    partial = None
    for mirror in (*source.mirrors, *source.gone):
        folder, whole = _cached(mirror, source.revision, allow_pickle)
        if folder and whole:
            return folder
        partial = partial or folder
    if constants.HF_HUB_OFFLINE:
        if partial:
            return partial  # Opening it names the file that it lacks.
        raise WeightsError(
            f"{_named(source)} is neither a folder here nor in the hub's cache, and HF_HUB_OFFLINE is set; unset it to "
            "download, or give a folder."
        )
    refusals = []
    for mirror in source.mirrors:
        try:
            return _download(mirror, source, allow_pickle)
        except WeightsError as error:
            refusals.append(str(error).rstrip("."))
        except _FAILURES as error:
            refusals.append(f"{mirror} {_why(error, mirror, source.revision)}")
    raise WeightsError(
        f"{_named(source)} is no folder here, and cannot be had from the hub ({'; '.join(refusals)}); "
        "a folder can be given in its place."
    )


def _cached(mirror: str, revision: str | None, allow_pickle: bool) -> tuple[Path | None, bool]:
    """What the cache holds of a snapshot, and whether that is all of it."""
    try:
        found = huggingface_hub.snapshot_download(
            mirror, revision=revision, allow_patterns=[*DESCRIPTIONS, *OURS], local_files_only=True
        )
        needed(mirror, listing(Path(found)), allow_pickle)
    except WeightsError:
        return Path(found), False
    except errors.LocalEntryNotFoundError as error:
        # Later versions know when a snapshot is incomplete, and say where it lies.
        path = getattr(error, "snapshot_path", None)
        return path and Path(path), False
    except ValueError as error:
        raise WeightsError(f"{mirror!r} is neither a folder here nor a hub id: {_first(error)}") from error
    return Path(found), True


def _download(mirror: str, source: Source, allow_pickle: bool) -> Path:
    info = huggingface_hub.model_info(mirror, revision=source.revision, files_metadata=True, timeout=TIMEOUT)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    wanted = needed(mirror, list(sizes), allow_pickle)
    # A warning, so that it is seen where logging was not set up and under --quiet: whoever downloads accepts it.
    log.warning(
        "Downloading %s%s: licence %s, about %d MB.",
        *(source.name, f" from {mirror}" if mirror != source.name else ""),
        *(_licence(info, source), round(sum(sizes[name] for name in wanted) / 1e6)),
    )
    # Gigabytes of a model that is then refused would be for nothing.
    index = [name for name in wanted if name in ("model_index.json", "model.json")]
    folder = Path(huggingface_hub.snapshot_download(mirror, revision=source.revision, allow_patterns=index))
    if is_stock(folder):
        check_family(folder)
    return Path(huggingface_hub.snapshot_download(mirror, revision=source.revision, allow_patterns=wanted))


def _licence(info: Any, source: Source) -> str:
    card = info.card_data or {}
    stated = card.get("license_name") or card.get("license")
    return str(stated or source.licence or "not stated")


def _why(error: Exception, mirror: str, revision: str | None) -> str:
    if isinstance(error, errors.GatedRepoError):
        return "is gated: accept its terms on its page, then log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"is unknown or private: check the spelling{_hint(mirror)}, or log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r}"
    return f"could not be reached or kept ({_first(error)}): try again later"


def _hint(mirror: str) -> str:
    every = [other for known in KNOWN.values() for other in known.mirrors]
    close = get_close_matches(mirror, every, n=1, cutoff=0.8)
    return f" (did you mean {close[0]!r}?)" if close and close[0] != mirror else ""


def _named(source: Source) -> str:
    return repr(f"{source.name}@{source.revision}" if source.revision else source.name)


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:160].rstrip(".") or type(error).__name__
