"""PdfAM: "Less Is More Important: An Attention Module Guided by Probability Density Function".

Xie and Zhang, AAAI 2023, the form with a mixture of Gaussians; their code:
https://github.com/chuan1093/PdfAM
"""

import torch
from torch import Tensor

from convgate.errors import InputError
from convgate.gates.base import GATES
from convgate.gates.pdfam import PdfAM, gaussian


@GATES.register("pdfam_gmm")
class PdfAMGMM(PdfAM):
    """`PdfAM` whose density is a mixture, fitted to each channel by a few steps of EM.

        r_k = a_k N(x; mu_k, var_k + 1e-4) / (sum_j a_j N(x; mu_j, var_j + 1e-4) + 1e-8)
        n_k = sum_hw(r_k),    mu_k = sum_hw(r_k x) / n_k
        var_k = sum_hw(r_k (x - mu_k)^2) / n_k,    a_k = n_k / (H W)
        p = sum_k a_k N_width(x; mu_k, var_k + 1e-4)
        s = 1 / (1 + softplus(eps) + softplus(coef) p),    y = s * x

    N_width has softplus(width) as a factor of its exponent. The fit starts at a_k = 1/K, var_k = 1
    and means drawn anew at every forward, in evaluation too: torch.rand(N, C, 1, K), once, before
    anything else, so that seeding torch repeats a result. Gradients flow through the fit. A
    component that no position belongs to (every density underflows, n_k = 0) would be 0/0; n_k is
    kept at 1e-8 or more in the divisions, which leaves such a component with weight 0.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, H, W).
    Source: AAAI 2023, mixture form, as in chuan1093/PdfAM, pdfam_gmm_module.py.

    Args:
        channels: C.
        steps: Steps of EM.
        components: K, the Gaussians in the mixture.

    Raises:
        InputError: if steps or components is below one.
    """

    def __init__(self, channels: int, *, steps: int = 3, components: int = 2) -> None:
        super().__init__(channels)
        for option, value in (("steps", steps), ("components", components)):
            if value < 1:
                raise InputError(f"PdfAMGMM: {option}={value} must be 1 or more")
        self.steps = steps
        self.components = components

    def density(self, x: Tensor, width: Tensor) -> Tensor:
        n, c, k = x.shape[0], x.shape[1], self.components
        mean = torch.rand(n, c, 1, k, dtype=x.dtype, device=x.device)[:, :, None]
        var, share = torch.ones_like(mean), torch.full_like(mean, 1 / k)
        x = x[..., None]  # (N, C, H, W, 1) against (N, C, 1, 1, K)
        for _ in range(self.steps):
            mean, var, share = _em_step(x, mean, var, share)
        return (share * gaussian(x, mean, var, width[..., None])).sum(-1)


def _em_step(x: Tensor, mean: Tensor, var: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    joint = share * gaussian(x, mean, var)
    r = joint / (joint.sum(-1, keepdim=True) + 1e-8)
    total = r.sum((2, 3), keepdim=True)
    divisor = total.clamp(min=1e-8)
    mean = (r * x).sum((2, 3), keepdim=True) / divisor
    var = (r * (x - mean).square()).sum((2, 3), keepdim=True) / divisor
    return mean, var, total / (x.shape[2] * x.shape[3])
