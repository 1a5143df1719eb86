"""Ensembling by the stock classes of diffusers, for numbers that must be theirs."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

Merged = tuple[Float[Tensor, "*chw"], Float[Tensor, "h w"]]


def marigold_depth(members: Float[Tensor, "e h w"], shift_invariant: bool = True) -> Merged:
    """The median after alignment by BFGS (Ke et al., CVPR 2024, section 3.4) in [0, 1], and its uncertainty.

    Depth known up to scale alone is aligned without a shift.
    """
    from diffusers import MarigoldDepthPipeline

    merged, uncertainty = MarigoldDepthPipeline.ensemble_depth(
        members[:, None], scale_invariant=True, shift_invariant=shift_invariant, output_uncertainty=True
    )
    return merged[0, 0], uncertainty[0, 0]


def marigold_normals(members: Float[Tensor, "e 3 h w"]) -> Merged:
    """Of each pixel the member closest to the mean direction, and the mean angle to it in shares of pi."""
    from diffusers import MarigoldNormalsPipeline

    merged, uncertainty = MarigoldNormalsPipeline.ensemble_normals(members, output_uncertainty=True)
    return merged[0], uncertainty[0, 0]
