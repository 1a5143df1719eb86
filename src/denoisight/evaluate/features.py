"""What images are compared in: the features of a network, which stand under its name beside every number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Query
from ..errors import UsageError, WeightsError
from ..metrics.diversity import unit_grid
from ..models.taps import Taps
from ..predict.model import Model
from ..predict.readout import features as read_features


class Seen(NamedTuple):
    """Of each image one vector; and a vector whose squared distances are those of `metrics.diversity`, or None."""

    vectors: Float[Tensor, "b d"]
    grids: Float[Tensor, "b e"] | None


@dataclass(frozen=True, eq=False)
class Features:
    """`see` gives what a network makes of images [3 h w] in [0, 1], whose sizes may differ. `weights` is their hash."""

    name: str
    weights: str
    see: Callable[[Sequence[Tensor]], Seen]


def taps_of(model: Model, res: int | None = None) -> Features:
    """What the middle and every way up of a model's U-Net make of an image, as its readout route sees it.

    Images are brought to `res` pixels on their longest side, 0 for their own (None: the model's): what is finer than
    that is not seen. At every place of a map features are brought to root mean square 1, then averaged over places, and
    the maps joined: so every map has a say, whatever its scale.
    """
    parts = replace(model.parts, taps=Taps(model.parts.backbone))
    assert parts.taps is not None
    longest = parts.config.resolution if res is None else res

    @torch.no_grad()
    def see(images: Sequence[Tensor]) -> Seen:
        queries = [Query(image) for image in images]
        vectors: dict[int, Tensor] = {}
        grids: dict[int, Tensor] = {}
        for group in model.groups(queries, longest, len(queries)):
            maps = read_features(parts, model.images([queries[i] for i in group], longest))
            vectors |= zip(group, _pooled(maps).cpu(), strict=True)
            grids |= zip(group, unit_grid(maps).cpu(), strict=True)
        order = range(len(queries))
        return Seen(torch.stack([vectors[i] for i in order]), torch.stack([grids[i] for i in order]))

    places, at = ", ".join(parts.taps.places), f"at {longest} px" if longest else "at full size"
    return Features(f"taps of {model.name} ({places}) {at}, scaled, mean over places", model.weights_hash, see)


def inception(path: Path | str, device: str | torch.device = "cpu") -> Features:
    """A network in TorchScript that takes images [b 3 h w] in [0, 255] and gives features [b d], under the name
    "Inception" where there are 2048, else under its file's.

    Made for `inception-2015-12-05.pt` of StyleGAN, the network that FID was defined with, which resizes by itself;
    where the network can be asked for `return_features`, it is. Nothing is downloaded. Raises `WeightsError` for what
    is no TorchScript, such as weights alone (torchmetrics' and torch-fidelity's): their network is in torch-fidelity.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        raise WeightsError(f"{path} holds weights without their network; give it as TorchScript (.pt).")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        network = torch.jit.load(str(path), map_location=device).eval()
    except (OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(
            f"{path} is no network in TorchScript ({first}); give a file of torch.jit.save, since weights alone, "
            "such as those of torchmetrics and torch-fidelity, lack their network."
        ) from error
    asked = {"return_features": True} if "return_features" in str(network.forward.schema) else {}

    @torch.no_grad()
    def see(images: Sequence[Tensor]) -> Seen:
        rows = [network(image[None].to(device) * 255, **asked).float().flatten(1).cpu() for image in images]
        return Seen(torch.cat(rows), None)

    width = see([torch.zeros(3, 64, 64)]).vectors.shape[1]
    return Features("Inception" if width == 2048 else path.name, digest, see)


def check_names(features: Sequence[Features]) -> None:
    """Raises `UsageError` where there are no features, or two of one name."""
    if not features:
        raise UsageError("There is no network to see images with; give a model whose features they are compared in.")
    names = [one.name for one in features]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UsageError(f"Features of {twice[0]} were given twice; give every network once.")


def told_apart(features: Sequence[Features]) -> tuple[Features, ...]:
    """Networks that share a name, as two that were trained for one task do, with the beginning of their hash in it."""
    hashes: dict[str, set[str]] = {}
    for one in features:
        hashes.setdefault(one.name, set()).add(one.weights)
    return tuple(
        replace(one, name=f"{one.name}, weights {one.weights[:8]}") if len(hashes[one.name]) > 1 else one
        for one in features
    )


def _pooled(maps: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b d"]:
    level = [each.float() / each.float().pow(2).mean(1, keepdim=True).clamp(min=1e-12).sqrt() for each in maps]
    return torch.cat([each.mean((2, 3)) for each in level], 1)
