"""What a gate is like, found out from the gate: the columns of a table of properties."""

import torch

from convgate.gates import GATES, create_gate

CHANNELS = 512  # enough for every gate's floors and groups
SIDE = 12
FAR = SIDE // 2  # from here on, beyond the reach of a 7-wide kernel at the corner

PROPERTIES = ("no_channel_reduction", "long_range", "lightweight")


def properties(gate: str) -> dict[str, bool]:
    """Return the properties of a registered gate by column.

    - no_channel_reduction: it has no `reduction` to a narrower hidden layer.
    - long_range: the scale of a position hangs on the far half of its own row and column at least
      twice as much as on far positions that share neither.
    - lightweight: with twice the channels it has at most twice the parameters.
    """
    sizes = [
        sum(p.numel() for p in create_gate(gate, n).parameters()) for n in (CHANNELS, 2 * CHANNELS)
    ]
    return {
        "no_channel_reduction": "reduction" not in GATES.options(gate),
        "long_range": _axis_share(gate) >= 2,
        "lightweight": sizes[1] <= 2 * sizes[0],
    }


def _axis_share(gate: str) -> float:
    """Return the pull of the far half of the row and column over that of the far quarter.

    It is the slope of the corner's scale with respect to every position. Parameters are drawn at
    random, for a fresh gate may look at nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = create_gate(gate, CHANNELS).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        x = torch.randn(1, CHANNELS, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
        corner = module.gate(x).expand_as(x)[0, :, 0, 0]
        (slope,) = torch.autograd.grad(corner @ torch.randn_like(corner), x)
    pull = slope[0].square().sum(0).sqrt()  # (SIDE, SIDE)
    axes = torch.cat([pull[0, FAR:], pull[FAR:, 0]]).mean()
    return float(axes / pull[FAR:, FAR:].mean().clamp(min=1e-30))
