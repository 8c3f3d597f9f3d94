"""Try gates in every family of timm and torchvision, and write what comes out: docs/coverage.md.

    python -m benchmarks.coverage                     # all families: an hour on one core
    python -m benchmarks.coverage --family resnet vgg # some, printed and not written

A family is a file of timm's models, or a builder of torchvision's. Its smallest member is run with
random weights at its own image size; its largest is traced without numbers. The column of exports
is filled by `python -m benchmarks.coverage_onnx`.
"""

import argparse
import copy
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils._pytree import tree_leaves

from convgate.errors import InputError
from convgate.folding import fold, folded
from convgate.insertion import insert, inserted, list_sites, remove
from convgate.insertion.selection import count_blocks
from convgate.models import create_model
from convgate.tables import Table

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"
PREFIX = "torchvision/"
INCEPTIONS = ("googlenet", "inception_v3")  # they warn where nobody says how they start
PASS, NONE, NOT_RUN = "yes", "", "-"


@dataclass(frozen=True)
class Row:
    """What came out for one family."""

    family: str
    name: str  # of the member that was run
    maps: int = 0  # blocks on maps
    tokens: int = 0  # blocks on tokens that are no map
    sites: dict[str, int] = field(default_factory=dict)
    equal: str = NONE  # the output with identity gates, bit for bit
    keys: str = NONE  # the network's own keys, gated and after removal
    learns: str = NONE  # a gradient at every gate
    folded: str = NONE
    seconds: float = 0.0  # of the insertion at block_end
    refused: str = NONE
    large: str = NONE  # the largest member, traced: its blocks
    fault: str = NONE

    @property
    def is_half(self) -> bool:
        """Whether fewer blocks than all were gated without a word."""
        return not self.refused and self.sites.get("block_end", 0) != self.maps + self.tokens

    @property
    def is_served(self) -> bool:
        return self.maps > 0 and not self.refused and not self.fault and not self.is_half


def families() -> dict[str, list[str]]:
    """Return the names of timm's and torchvision's networks by family."""
    found: dict[str, list[str]] = {}
    for name in timm.list_models():
        home = timm.model_entrypoint(name).__module__
        if home.startswith("timm.models."):
            found.setdefault(home.removeprefix("timm.models."), []).append(name)
    for name in torchvision.models.list_models():
        builder = torchvision.models.get_model_builder(name)
        home = builder.__module__.removeprefix("torchvision.models.")
        if "quantization" not in home and "video" not in home and "optical" not in home:
            found.setdefault(PREFIX + home, []).append(PREFIX + name)
    return found


def build(name: str, device: str) -> nn.Module:
    """Return a network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    plain = name.removeprefix(PREFIX)
    with torch.device(device):
        if plain == name:
            net = create_model(name)
        else:
            options = {"weights_backbone": None} if _is_dense(plain) else {}
            options |= {"init_weights": True} if plain in INCEPTIONS else {}
            net = torchvision.models.get_model(plain, weights=None, **options)
    # Fresh networks hide their branches behind norms or layer scales that are zero, or nearly.
    for path, parameter in net.named_parameters():
        hides = parameter.ndim <= 1 or not (device == "meta" or parameter.any())
        if hides and not path.endswith("bias"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return net.eval()


def smallest_and_largest(names: Sequence[str]) -> tuple[str, str]:
    sizes = {name: _parameters(name) for name in names}
    return min(names, key=lambda name: sizes[name]), max(names, key=lambda name: sizes[name])


def examine(family: str, names: Sequence[str]) -> Row:
    """Try one family."""
    small, large = smallest_and_largest(names)
    row = examine_member(family, small)
    return replace(row, large=_trace(large)) if large != small else row


def examine_member(family: str, name: str) -> Row:
    """Try one network of a family."""
    row = Row(family, name)
    try:
        return _run(row, build(name, "cpu"))
    except InputError as error:
        return replace(row, refused=str(error))
    except Exception as error:  # what the page is for
        return replace(row, fault=f"{type(error).__name__}: {error}".splitlines()[0][:120])


def _run(row: Row, net: nn.Module) -> Row:
    maps, tokens = count_blocks(net)
    names = [site.name for site in list_sites(net)]
    row = replace(row, maps=maps, tokens=tokens, sites={n: names.count(n) for n in names})
    x = _images(net, row.name)
    keys = list(net.state_dict())
    before = _output(net, x)
    start = time.perf_counter()
    insert(net, "se", reduction=4)
    row = replace(row, seconds=time.perf_counter() - start)
    row = replace(row, equal=_word(all(map(torch.equal, _output(net, x), before))))
    sum(y.float().sum() for y in _tensors(_forward(net, x)) if y.requires_grad).backward()
    row = replace(row, learns=_word(all(_learns(gate) for _, gate, _ in inserted(net))))
    for _, gate, _ in inserted(net):
        for parameter in gate.parameters():
            nn.init.normal_(parameter, std=0.1)
    row = replace(row, folded=_fold(net, x))
    own = [key for key in net.state_dict() if key in set(keys)]
    remove(net)
    return replace(row, keys=_word(own == keys and list(net.state_dict()) == keys))


def _fold(net: nn.Module, x: Any) -> str:
    """Fold in float64, where only the algebra can be wrong: random networks amplify rounding."""
    if not isinstance(x, Tensor) or not isinstance(net(x), Tensor):
        return "not tried"
    try:
        report = folded(fold(copy.deepcopy(net).double(), x.double()))
    except InputError as error:
        return "no fixed graph" if "no fixed graph" in str(error) else f"refused: {error}"
    gates = sum(1 for _ in inserted(net))
    kept = sum("gate" in each.path.rsplit(".", 1)[-1] for each in report.kept)
    return f"{gates - kept} of {gates}"


def _trace(name: str) -> str:
    try:
        net = build(name, "meta")
        maps, tokens = count_blocks(net)
        ends = sum(site.name == "block_end" for site in list_sites(net))
    except Exception as error:
        return f"{name}: {type(error).__name__}"
    return f"{name}: {ends} of {maps + tokens}"


def _images(net: nn.Module, name: str) -> Any:
    size = (getattr(net, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))
    x = torch.randn(2, *size)
    is_detector = ".detection." in f".{type(net).__module__}."
    return [image for image in x[:1]] if is_detector else x[:1] if max(size) > 300 else x


def _output(net: nn.Module, x: Any) -> list[Tensor]:
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return _tensors(_forward(net, x))


def _forward(net: Any, x: Any) -> Any:
    """Run a network; of a detector the backbone too, for a random one may find nothing."""
    if isinstance(x, Tensor):
        return net(x)
    return net(x), net.backbone(interpolate(x[0][None], size=320))


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _learns(gate: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in gate.parameters())


def _word(holds: bool) -> str:
    return PASS if holds else "NO"


def _is_dense(name: str) -> bool:
    builder = torchvision.models.get_model_builder(name)
    return ".detection." in builder.__module__ or ".segmentation." in builder.__module__


def _parameters(name: str) -> int:
    try:
        return sum(p.numel() for p in build(name, "meta").parameters())
    except Exception:  # a builder that computes with numbers
        return sum(p.numel() for p in build(name, "cpu").parameters())


def cells(row: Row) -> tuple[str, ...]:
    others = {k: v for k, v in row.sites.items() if k != "block_end"}
    sites = ", ".join(f"{name} {count}" for name, count in others.items())
    verdict = row.fault or row.refused or ("HALF" if row.is_half else "served")
    blocks = str(row.maps) if not row.tokens else f"{row.maps} + {row.tokens} tokens"
    ends = str(row.sites.get("block_end", 0))
    tried = (row.equal, row.learns, row.keys, row.folded, NOT_RUN)
    return row.family, row.name, blocks, ends, sites, *tried, verdict, row.large


HEAD = (
    "family", "smallest member", "blocks", "block_end", "other sites", "bit-equal", "gradient",
    "keys", "folded", "ONNX", "result", "largest member: block_end of blocks",
)  # fmt: skip


def table(rows: Sequence[Row]) -> Table:
    return Table(HEAD, [cells(row) for row in rows], "llrrllllllll")


def page(rows: Sequence[Row]) -> str:
    """Return the page with all rows."""
    served = sum(row.is_served for row in rows)
    refused = sum(bool(row.refused) for row in rows)
    halves = sum(row.is_half for row in rows)
    faults = sum(bool(row.fault) for row in rows)
    return (
        "# Which networks take gates\n\n"
        "Every family of timm (a file of its models) and of torchvision (a builder), its smallest "
        "member with random weights: sites are read off the data flow, an SE gate is put on every "
        "`block_end`, the output is compared bit for bit, a gradient has to reach every gate, the "
        "state dict has to keep its keys and have them alone after removal; then gates with random "
        "numbers are folded in float64; folded are those of which `fold` keeps no part, neither "
        "squeeze nor scale, as it was. The largest member is traced without numbers.\n\n"
        "ONNX: the network with gates of random numbers is exported at its image size, run by "
        "ONNX Runtime at two batch sizes and compared with the eager network, to 1e-4 of "
        'the norm or ten times its own rounding, whichever is more; "plain net fails" '
        'where the same network without gates does not come through, "over 120 s" where so much '
        'processor time was not enough, "not tried" for networks that give no single tensor, '
        '"-" for those that are refused or were not run yet.\n\n'
        "A gate stands on the output of a module, on its input, or on a tensor of a tuple or list "
        "that it returns. What none of them is, as a functional activation that several others "
        "use, is no site: nothing could carry the gate without a change of the network's code.\n"
        f"\n{len(rows)} families: {served} served, {refused} refused in one sentence, {halves} "
        f"half recognised, {faults} failed. Made by `python -m benchmarks.coverage` with timm "
        f"{timm.__version__}, torchvision {torchvision.__version__}, torch {torch.__version__}.\n\n"
        f"{table(rows).markdown()}\n"
    )


def examine_all(wanted: Sequence[str], report: Callable[[Row], None]) -> list[Row]:
    rows = []
    for family, names in families().items():
        if not wanted or family in wanted:
            rows.append(examine(family, names))
            report(rows[-1])
            gc.collect()
    return rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", nargs="*", default=[], help="Families to try; all by default.")
    args = parser.parse_args(arguments)
    rows = examine_all(args.family, lambda row: print(*cells(row), sep=" | ", flush=True))
    if not args.family:
        PAGE.write_text(page(rows))
    return 1 if any(row.is_half or row.fault for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
