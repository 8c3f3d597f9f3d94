"""docs/results/identity_start.md and its figure, from the runs of `benchmarks.starts` alone.

python -m benchmarks.starts_page
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import altair as alt

from benchmarks.record import read
from convgate.charts import COLOURS, LIGHT, write_chart
from convgate.studies.statistics import Difference, paired_difference

NOTES = Path(__file__).parent / "starts.md"
DOCS = Path(__file__).parent.parent / "docs" / "results"
FIGURE = DOCS / "identity_start" / "identity_start"
LABELS = {"ca": "CA", "cbam": "CBAM", "ean": "EAN", "eca": "ECA", "ela": "ELA", "se": "SE",
          "seln": "SELN"}  # fmt: skip
WAYS = {"identity": COLOURS[0], "paper": COLOURS[1]}
PANEL = 300, 190
DOT: dict[str, Any] = {"filled": True, "size": 60, "opacity": 1.0}
Runs = dict[tuple[str, str], dict[int, dict[str, float]]]
"""The numbers of the runs by gate and start, and by seed."""


def runs_of(path: Path) -> Runs:
    """Read what `benchmarks.starts` wrote."""
    runs: Runs = defaultdict(dict)
    for row in read(path):
        key = row.pop("gate"), row.pop("start")
        runs[key][int(row["seed"])] = {k: float(v) for k, v in row.items()}
    return dict(runs)


def values(runs: Runs, gate: str, start: str, key: str) -> dict[int, float]:
    """Return one number of every run by its seed."""
    return {seed: run[key] for seed, run in runs[gate, start].items()}


def mean(found: dict[int, float]) -> float:
    return sum(found.values()) / len(found)


def to_plain(runs: Runs, gate: str, start: str) -> Difference:
    """Compare the accuracy with the plain network's of the same seed."""
    found = paired_difference(values(runs, gate, start, "top1"), values(runs, "none", "", "top1"))
    assert found is not None
    return found


def ends(number: Difference) -> str:
    """Return the ends of an interval, in points."""
    return f"[{number.low:+z.1f}, {number.high:+z.1f}]"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def before_and_after(runs: Runs) -> str:
    """Return what the two starts keep of a pretrained network, and where they end."""
    plain = mean(values(runs, "none", "", "top1"))
    rows = [["none", "", "100", f"{plain:.1f}", "", ""]]
    for gate, start in [key for key in runs if key[0] != "none"]:
        number = to_plain(runs, gate, start)
        rows.append([
            LABELS[gate], start, f"{mean(values(runs, gate, start, 'kept')):.1f}",
            f"{mean(values(runs, gate, start, 'top1')):.1f}",
            f"{number.mean:+z.1f} {ends(number)}",
            f"{100 * mean(values(runs, gate, start, 'moved')):.2f}",
        ])  # fmt: skip
    head = ["gate", "start", "same class before, %", "top-1 after, %", "to plain, points"]
    return table([*head, "gates moved, %"], rows)


def movement(runs: Runs) -> str:
    """Return how far the gates moved, in percent, by start and gate."""
    gates = list(dict.fromkeys(gate for gate, _ in runs if gate != "none"))
    starts = list(dict.fromkeys(start for gate, start in runs if gate != "none"))
    rows = [
        [start, *(f"{100 * mean(values(runs, gate, start, 'moved')):.2f}"
                  if (gate, start) in runs else "-" for gate in gates)]
        for start in starts
    ]  # fmt: skip
    return table(["start", *(LABELS[gate] for gate in gates)], rows)


def against_blend(runs: Runs) -> str:
    """Return the paired differences of every start to the blend, over gates and seeds."""
    rows = []
    starts = dict.fromkeys(start for gate, start in runs if gate != "none")
    for start in [start for start in starts if start != "blend"]:
        cells = [start]
        for key, digits in (("loss_late", 3), ("val_loss", 3), ("top1", 1)):
            own, base = pooled(runs, start, key), pooled(runs, "blend", key)
            found = paired_difference(own, base)
            assert found is not None
            ends = f"[{found.low:+z.{digits}f}, {found.high:+z.{digits}f}]"
            cells.append(f"{found.mean:+z.{digits}f} {ends}")
        worst = min(own[pair] - base[pair] for pair in own)  # of the accuracies, the last
        rows.append([*cells, f"{worst:+.1f}", str(found.pairs)])
    head = ["start, against the blend", "training loss, last third", "held-out loss"]
    return table([*head, "top-1, points", "worst pair", "pairs"], rows)


def pooled(runs: Runs, start: str, key: str) -> dict[int, float]:
    """Return one number of every run of a start, numbered by gate and seed."""
    gates = sorted({gate for gate, _ in runs})
    return {
        100 * gates.index(gate) + seed: run[key]
        for (gate, own), seeds in runs.items()
        if own == start
        for seed, run in seeds.items()
    }


def draw(runs: Runs) -> alt.HConcatChart:
    """Draw what each start keeps before a step, and what it ends with."""
    rows = []
    for gate, start in [key for key in runs if key[0] != "none"]:
        number = to_plain(runs, gate, start)
        after = {"low": number.low, "high": number.high, "after": number.mean}
        kept = mean(values(runs, gate, start, "kept"))
        rows.append({"gate": LABELS[gate], "start": start, "kept": kept} | after)
    data = alt.InlineData(values=rows)
    colour = alt.Color(
        "start:N",
        scale=alt.Scale(domain=list(WAYS), range=list(WAYS.values())),
        legend=alt.Legend(title="gates start as", orient="bottom"),
    )
    y = alt.Y("gate:N", title=None, sort=list(dict.fromkeys(row["gate"] for row in rows)))
    base = alt.Chart(data).encode(
        y=y, yOffset=alt.YOffset("start:N", sort=list(WAYS)), color=colour
    )
    width, height = PANEL
    kept = base.mark_point(**DOT).encode(
        x=alt.X("kept:Q", title="photographs that keep their class, %")
    )
    axis = alt.X("low:Q", title="top-1, points from the plain network")
    none = alt.Chart(alt.InlineData(values=[{"x": 0}])).mark_rule(color=LIGHT.soft).encode(x="x:Q")
    after = alt.LayerChart(
        layer=[
            none,
            base.mark_rule(strokeWidth=2).encode(x=axis, x2="high:Q"),
            base.mark_point(**DOT).encode(x="after:Q"),
        ],
        title="after 45 updates",
    )
    return alt.hconcat(
        kept.properties(width=width, height=height, title="just inserted"),
        after.properties(width=width, height=height),
        title=alt.TitleParams(
            "Gates put into EfficientNet-Lite0 with its ImageNet weights", offset=12
        ),
    )


def page(evidence: Runs, starts: Runs) -> str:
    """Return the notes with their tables."""
    text = NOTES.read_text()
    text = text.replace("{EVIDENCE}", before_and_after(evidence))
    text = text.replace("{MOVEMENT}", movement(starts))
    return text.replace("{DIFFERENCES}", against_blend(starts))


def main() -> None:
    """Write the figure and the page."""
    evidence, starts = (runs_of(FIGURE.parent / f"{name}.csv") for name in ("evidence", "starts"))
    write_chart(draw(evidence), *(FIGURE.with_suffix(f".{k}") for k in ("svg", "png")), force=True)
    (DOCS / "identity_start.md").write_text(page(evidence, starts))


if __name__ == "__main__":
    main()
