"""How different the channels of a feature map are, without a matrix of all pairs."""

import torch
from torch import Tensor

from convgate.kernels.path import takes_fused


def reference(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's distance and its zero channels, by way of the unit vectors."""
    wide = torch.promote_types(features.dtype, torch.float32)
    maps = features.to(wide).flatten(2)  # (N, C, P)
    # Dividing by the peak first keeps the squares of tiny and huge maps in range.
    peak = maps.detach().abs().amax(2, keepdim=True)
    scaled = maps / torch.where(peak > 0, peak, 1.0)
    norm = torch.where(peak > 0, scaled.norm(dim=2, keepdim=True), torch.inf)
    cosine = (scaled / norm).mean(1).square().sum(1)  # (N, P) -> (N,)
    return (1 - cosine) / 2, (peak == 0).sum((1, 2))


def cosine_distance(features: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the mean cosine distance over all pairs of channels, for each image.

        d = 1/C² Σᵢ Σⱼ (1 - cos(Xᵢ, Xⱼ)) / 2 = (1 - ‖ 1/C Σᵢ Xᵢ / ‖Xᵢ‖ ‖²) / 2

    The sum runs over all C² ordered pairs and so includes the diagonal, whose distance is 0. A
    channel that is zero everywhere has cosine 0 to every channel, itself included, and no
    gradient. The fused path reads the features twice and writes one number for each position.

    Shape: features (N, C, ...) -> d (N,), float32 for half precision; zero channels (N,).
    Source: doi 10.32604/cmc.2025.059966, eq. 4; halved as in ConvNeXt V2 (arXiv 2301.00808, 3.1).
    """
    if takes_fused(features, "cosine_distance"):
        from convgate.kernels.fused.cosine_distance import cosine as fused

        cosine, _, peaks, _ = fused(features)
        return (1 - cosine) / 2, (peaks == 0).sum(1)
    return reference(features)
