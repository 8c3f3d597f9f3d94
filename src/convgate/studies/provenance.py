"""What a reader needs to judge a study: data, protocol, machine and command, as pairs of text."""

from collections.abc import Mapping
from typing import Any

from convgate.deploy.export import NOT_FOLDED
from convgate.insertion import MIN_MOVEMENT
from convgate.networks.origin import origin_of
from convgate.studies.grid import unique
from convgate.studies.result import StudyResult
from convgate.studies.statistics import CONFIDENCE

Pairs = list[tuple[str, str]]


def data_pairs(result: StudyResult) -> Pairs:
    """Say how many images trained and judged the networks, and whether they are a part."""
    spec, schedule = result.recipe.data, result.recipe.schedule
    facts: dict[str, Any] = next((r.outcome for r in result.records if r.outcome), {})
    part = ", a subset with equal shares of the classes"
    training = f"{facts.get('train_images', 0):,} images{part if spec.train_count else ''}"
    validation = f"{facts.get('val_images', 0):,} images{part if spec.val_count else ''}"
    skipped = facts.get("skipped") or 0
    preset = result.recipe.note.get("study")
    return [
        *([("rows", preset)] if preset else []),
        ("data", f"{spec.name}, {spec.image_px} x {spec.image_px} px"),
        ("classes", str(facts.get("classes", "-"))),
        ("training", training),
        ("validation", validation),
        ("damaged, left out", str(skipped if isinstance(skipped, int) else len(skipped))),
        ("backbone", ", ".join(unique([row.variant.model for row in result.rows]))),
        (
            "networks start from",
            ", ".join(unique([origin_of(r.spec.model) for r in result.records])),
        ),
        ("gates start as", _starts(result)),
        ("gate options", gate_options(result) or "the papers' own"),
        ("epochs", str(schedule.epochs)),
        ("batch", f"{result.recipe.run.batch_size} images in {result.recipe.run.dtype}"),
        ("seeds", ", ".join(str(s) for s in sorted({r.cell.seed for r in result.records}))),
    ]


def _starts(result: StudyResult) -> str:
    words = {"identity": "the identity", "paper": "their papers say"}
    gates = [r.spec.gate for r in result.records if r.spec.gate and not r.spec.gate.replaces]
    found = unique([gate.settled(learned=False).start for gate in gates])
    return " or ".join(words[start] for start in found) or words["paper"]


def gate_options(result: StudyResult) -> str:
    """Name the options that were not left at a gate's defaults."""
    chosen = {
        r.cell.variant.name or r.cell.variant.gate: r.spec.options
        for r in result.records
        if r.spec.options and not r.cell.variant.setting
    }
    parts = [
        f"{gate}: {', '.join(f'{key}={value}' for key, value in options.items())}"
        for gate, options in chosen.items()
    ]
    return "; ".join(parts)


def machine_pairs(result: StudyResult) -> Pairs:
    """Say where the latency was measured, and where the runs were trained if elsewhere."""
    measured = {
        k: v
        for k, v in result.measured.environment.items()
        if k not in ("command", "engine") and v != "none"
    }
    pairs = [("command", result.command), *measured.items()]
    trained = [r.outcome["environment"] for r in result.records if "environment" in r.outcome]
    for key in ("device", "cpu", "torch", "threads", "git_commit"):
        seen = unique([env.get(key, "-") for env in trained])
        if seen and seen != [measured.get(key)]:
            pairs.append((f"trained with {key}", ", ".join(seen)))
    return pairs


def latency_pairs(result: StudyResult) -> Pairs:
    """Say how the latency was taken, for each backbone, with every warning."""
    pairs: Pairs = []
    for model, taken in result.latency.items():
        ends = taken["self_test"]
        pairs += [
            (
                model,
                f"{taken['rounds']} rounds in {taken['seconds']:.0f} s, input"
                f" {' x '.join(map(str, taken['input_shape']))}; base against itself"
                f" {ends['median']:.3f} [{ends['low']:.3f}, {ends['high']:.3f}]"
                + (f"; {taken['engine']}" if "engine" in taken else ""),
            ),
            *((model, warning) for warning in taken["warnings"]),
            *((model, f"{label} {why}") for label, why in _unfolded(taken)),
        ]
    return pairs


def _unfolded(taken: Mapping[str, Any]) -> Pairs:
    """Return the networks that were timed as they were trained, and why they do not fold."""
    told = [(label, line) for label, lines in taken.get("folded", {}).items() for line in lines]
    return [pair for pair in told if pair[1].startswith(NOT_FOLDED)]


def notes(result: StudyResult) -> list[str]:
    """Say how the numbers are to be read."""
    gates = sum(not row.variant.is_base for row in result.rows)
    chance = 1 - CONFIDENCE**gates
    images = result.measured.conditions.get("distance_images")
    lines = [
        "top-1 is that of the last epoch, never of the best one: mean and standard deviation over"
        " the seeds.",
        "difference compares the same seed with and without the gate; the brackets are its 95 %"
        " interval (Student t on the paired differences). An interval that spans 0 shows no"
        " difference.",
        "latency ratio is the median of paired ratios to the base, all variants taking turns in"
        " every round; the brackets are its bootstrap 95 % interval. latency is that ratio times"
        f" the base's median. A gate is within the budget of {result.budget:.2f}x if its whole"
        " interval is.",
        "MACs and element-wise operations are of one image on the plain form; bytes moved are the"
        " least that its operators read and write.",
        f"distance is the mean feature cosine distance of the block outputs over {images} "
        "validation images, averaged over blocks and seeds: 0 where all channels show one"
        " pattern, 0.5 where they are orthogonal.",
    ]
    if any(row.moved is not None for row in result.rows):
        lines.append(
            "gates moved is by how much the gates change their input x at the end, sum |y - x| over"
            " sum |x|, averaged over gates and seeds: 0 is the identity. Below"
            f" {100 * MIN_MOVEMENT:.2g} %, the resolution of bfloat16, they did not act."
        )
    if gates > 1:
        lines.insert(
            2,
            f"Each interval stands for itself: among {gates} variants without any effect, chance"
            " alone shows a difference in at least one with a probability of up to"
            f" {100 * chance:.0f} %.",
        )
    return lines


def failures(result: StudyResult) -> list[str]:
    return [f"{r.cell}: {r.note}" for r in result.records if r.state == "failed"]
