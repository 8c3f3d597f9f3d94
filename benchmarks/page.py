"""docs/performance.md and its pictures, from the results alone."""

from itertools import product
from pathlib import Path

import altair as alt

from benchmarks.targets import TARGETS, lines_of
from convgate.charts import COLOURS, LIGHT, NEUTRAL, write_chart

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
ENDS = {"low": "_low", "middle": "", "high": "_high"}
DEVICES = {"cpu": "", "cuda": ", on a GPU"}


def write_page(results: Path) -> None:
    """Write the page and a picture for each table."""
    parts = [HEAD, "## What was to be reached\n", reached(results), "\n" + NOTES.read_text()]
    for (subject, title), (device, where) in product(SUBJECTS.items(), DEVICES.items()):
        lines = lines_of(results, subject, device)
        if lines:
            name = f"performance_{subject}{'' if device == 'cpu' else '_' + device}.svg"
            write_chart(draw(lines), DOCS / name, force=True)
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


def draw(lines: list[dict[str, str]]) -> alt.LayerChart:
    """Draw the ratios to the base with their intervals, engine by engine."""
    bars: list[dict[str, object]] = []
    headings: list[dict[str, object]] = []
    groups: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        group = groups.setdefault(f"{engine(line)}, {line['dtype']}", [])
        if ", eager" not in line["name"]:
            group.append(line)
    for heading, group in groups.items():  # the base's row holds the heading
        headings.append({"row": heading, "name": heading})
        for line in group[1:]:
            ends = {key: float(line[f"ratio{end}"]) for key, end in ENDS.items()}
            colour = COLOURS[0] if "folded" in line["name"] else NEUTRAL
            row = {"row": f"{heading}: {line['name']}", "name": line["name"], "colour": colour}
            headings.append({k: row[k] for k in ("row", "name")})
            bars.append(row | ends)
    y = alt.Y("row:N", sort=[row["row"] for row in headings], axis=None)
    drawn = alt.Chart(alt.InlineData(values=bars)).encode(
        y=y, color=alt.Color("colour:N", scale=None)
    )
    names = alt.Chart(alt.InlineData(values=headings)).encode(y=y, text="name:N", x=alt.value(-8))
    x = alt.X("low:Q", title="latency over the base's (blue: folded)", scale=alt.Scale(zero=False))
    return alt.LayerChart(
        layer=[
            alt.Chart(alt.InlineData(values=[{"x": 1}]))
            .mark_rule(color=LIGHT.text)
            .encode(x="x:Q"),
            drawn.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q"),
            drawn.mark_point(filled=True, size=50, opacity=1).encode(x="middle:Q"),
            names.transform_filter("datum.row != datum.name").mark_text(align="right"),
            names.transform_filter("datum.row == datum.name").mark_text(
                align="right", fontWeight="bold"
            ),
        ],
        width=420,
        height=alt.Step(22),
    )
