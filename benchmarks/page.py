"""docs/performance.md and its pictures, from the results alone."""

from itertools import product
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.targets import TARGETS, read
from convgate.view.figure import LIGHT, new_figure, style_axes, write_figure

NOTES = Path(__file__).parent / "notes.md"
DOCS = Path(__file__).parent.parent / "docs"
SUBJECTS = {
    "selnext": "SELNeXt-T against ConvNeXt-T",
    "resnet50": "ResNet-50 with a gate at every block's end against the plain one",
}
HEAD = """# Performance

Latency at inference, with and without folding, in one run: networks take turns in random order,
and a ratio is the median over the rounds of one network's time over the base's, with a 95 %
bootstrap interval. Every form is compared with its network's output before it is timed. Weights
are random.

    make bench                  # measures all of this on the CPU and writes this page
    make bench DEVICE=cuda      # measures the rows of a GPU and adds them

"""
DEVICES = {"cpu": "", "cuda": ", on a GPU"}


def write_page(results: Path) -> None:
    """Write the page and a picture for each table."""
    parts = [HEAD, "## What was to be reached\n", reached(results), "\n" + NOTES.read_text()]
    for (subject, title), (device, where) in product(SUBJECTS.items(), DEVICES.items()):
        lines = read(results, subject, device)
        if lines:
            name = f"performance_{subject}{'' if device == 'cpu' else '_' + device}.svg"
            write_figure(draw(lines), DOCS / name)
            heading = f"{title}{where}"
            parts += [f"\n## {heading}\n", f"![{heading}]({name})\n"]
            parts += [provenance(lines), details(lines)]
    (DOCS / "performance.md").write_text("\n".join(parts) + "\n")


def reached(results: Path) -> str:
    """Return the table of targets."""
    cells = [target.cells(results) for target in TARGETS]
    lines = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join(
        ["| what | to reach | measured | reached |", "| --- | --- | --- | --- |", *lines]
    )


def provenance(lines: list[dict[str, str]]) -> str:
    """Return where and how it was measured."""
    one = lines[0]
    where = one["device"] if one["device"] != "cpu" else f"{one['cpu']}, {one['threads']} threads"
    return (
        f"{where}, batch {one['batch']}, torch {one['torch']}, "
        f"commit {one['git_commit']}; `{one['command']}`.\n"
    )


def details(lines: list[dict[str, str]]) -> str:
    """Return all results of a subject."""
    head = "| engine | dtype | network | median ms | 5 to 95 % | ratio | 95 % interval | reliable |"
    table = [head, "| --- | --- | --- | --: | --: | --: | --: | --- |"]
    for line in lines:
        ms = [float(line[key]) for key in ("median_ms", "q05_ms", "q95_ms")]
        ratio = [float(line[key]) for key in ("ratio", "ratio_low", "ratio_high")]
        table.append(
            f"| {engine(line)} | {line['dtype']} | {line['name']} | {ms[0]:.1f} "
            f"| {ms[1]:.1f} to {ms[2]:.1f} | {ratio[0]:.3f} | {ratio[1]:.3f} to {ratio[2]:.3f} "
            f"| {'yes' if line['reliable'] == 'True' else 'no'} |"
        )
    return "\n".join(table)


def engine(line: dict[str, str]) -> str:
    """Return an engine and how many parts of the batch it runs side by side."""
    many = "" if line["parts"] == "1" else f", {line['parts']} parts"
    return line["engine"] + many


def draw(lines: list[dict[str, str]]) -> Figure:
    """Draw the ratios to the base with their intervals, engine by engine."""
    groups: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        group = groups.setdefault(f"{engine(line)}, {line['dtype']}", [])
        if ", eager" not in line["name"]:
            group.append(line)
    rows = sum(map(len, groups.values()))  # the base's row holds the heading
    figure = new_figure(8, 0.28 * rows + 0.9, LIGHT)
    axes = figure.add_subplot()
    style_axes(axes, LIGHT)
    names: list[str] = []
    for heading, group in groups.items():
        names.append(heading)
        for line in group[1:]:
            low, middle, high = (float(line[k]) for k in ("ratio_low", "ratio", "ratio_high"))
            colour = "#2a6fc4" if "folded" in line["name"] else "#808a94"
            axes.plot([low, high], [len(names)] * 2, color=colour, lw=2)
            axes.plot([middle], [len(names)], "o", color=colour, ms=5)
            names.append(line["name"])
    axes.axvline(1, color=LIGHT.text, lw=0.8)
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_color(LIGHT.text)
        label.set_fontweight("bold" if label.get_text() in groups else "normal")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("latency over the base's (blue: folded)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return figure
