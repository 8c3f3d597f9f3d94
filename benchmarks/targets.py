"""What was to be reached, against what the results say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import read

NOT_MEASURED = "not measured"
FOLDED = "selnext_tiny, folded"
PARTS = {"openvino": 4}  # what is fastest there, for plain networks too
BEST, EACH, STEP = "fastest form", "every form", "training step"  # on a GPU, in place of an engine


@dataclass(frozen=True)
class Target:
    """A figure to reach: the latency of one network over another's.

    Args:
        what: In words.
        limit: The largest ratio that reaches it; the smallest where ``over`` is given.
        subject: The file of the results; empty for what needs another device.
        engine: The engine of both.
        dtype: The dtype of both.
        name: The network.
        over: A network whose time is divided by this one's, for "times faster".
        parts: Equal parts of the batch side by side, for both.
        device: On which it was measured.
    """

    what: str
    limit: float
    subject: str = ""
    engine: str = ""
    dtype: str = ""
    name: str = ""
    over: str = ""
    parts: int = 1
    device: str = "cpu"

    def measured(self, results: Path) -> float | None:
        """Return the ratio in the results; None where they lack it."""
        lines = [
            line
            for line in lines_of(results, self.subject, self.device)
            if (line["engine"], line["dtype"]) == (self.engine, self.dtype)
            and int(line["parts"]) == self.parts
        ]
        ratios = {line["name"]: float(line["ratio"]) for line in lines}
        if self.name not in ratios or (self.over and self.over not in ratios):
            return None
        return ratios[self.over] / ratios[self.name] if self.over else ratios[self.name]

    def cells(self, results: Path) -> tuple[str, str, str, str]:
        """Return what, limit, measured and whether it is reached, as text."""
        sign, unit = (">=", " times") if self.over else ("<=", "")
        value = self.measured(results)
        limit = f"{sign} {self.limit:g}{unit}"
        if value is None:
            return self.what, limit, NOT_MEASURED, ""
        reached = value >= self.limit if self.over else value <= self.limit
        return self.what, limit, f"{value:.3f}{unit}", "yes" if reached else "no"


@dataclass(frozen=True)
class Share(Target):
    """The least share of a copy's bandwidth that some fused operators reach, forward."""

    over: str = "a copy"
    operators: tuple[str, ...] = ()
    device: str = "cuda"

    def measured(self, results: Path) -> float | None:
        """Return the least share in the results; None where they lack an operator."""
        lines = [
            line
            for line in lines_of(results, "kernels", self.device)
            if (line["path"], line["direction"]) == ("fused", "forward")
            and line["operator"] in self.operators
        ]
        if {line["operator"] for line in lines} != set(self.operators):
            return None
        return min(float(line["share_of_copy"]) for line in lines)


def selnext(what: str, limit: float, engine: str, dtype: str) -> Target:
    """Return a target for SELNeXt-T over ConvNeXt-T."""
    parts = PARTS.get(engine, 1)
    what = f"SELNeXt-T / ConvNeXt-T, {what}"
    return Target(what, limit, "selnext", engine, dtype, FOLDED, parts=parts)


def resnet(gate: str, limit: float, dtype: str) -> Target:
    """Return a target for a gated ResNet-50 over the plain one in OpenVINO."""
    what, name = f"ResNet-50 + {gate}, OpenVINO {dtype}", f"{gate}, folded"
    return Target(what, limit, "resnet50", "openvino", dtype, name, parts=PARTS["openvino"])


def faster(what: str, name: str) -> Target:
    """Return a target for SELNeXt-T over what a user starts from."""
    eager, parts = "convnext_tiny, eager float32", PARTS["openvino"]
    return Target(what, 5.0, "selnext", "openvino", "bfloat16", name, eager, parts)


def gpu(what: str, limit: float, subject: str, form: str, name: str) -> Target:
    """Return a target for a network on a GPU in bfloat16."""
    return Target(f"GPU: {what}", limit, subject, form, "bfloat16", name, device="cuda")


APPLIED = ("ean", "strip_gate", "scale_residual_act")

TARGETS = (
    selnext("OpenVINO bfloat16", 0.93, "openvino", "bfloat16"),
    selnext("OpenVINO float32", 1.0, "openvino", "float32"),
    selnext("ONNX Runtime", 1.0, "onnxruntime", "float32"),
    selnext("eager", 1.0, "eager", "float32"),
    selnext("compile bfloat16", 1.0, "compile", "bfloat16"),
    faster("SELNeXt-T, int8, over ConvNeXt-T, eager", f"{FOLDED}, int8"),
    faster("SELNeXt-T, bfloat16, over ConvNeXt-T, eager", FOLDED),
    *(resnet(gate, 1.05, "float32") for gate in ("se", "eca", "seln")),
    *(resnet(gate, 1.25, "bfloat16") for gate in ("se", "eca", "seln")),
    *(resnet(gate, 1.10, "float32") for gate in ("ela_b", "ca")),
    Share("GPU: EAN, ELA, SE, share of copy bandwidth", 0.8, operators=APPLIED),
    gpu("SELNeXt-T / ConvNeXt-T, fastest forms", 0.9, "selnext", BEST, "selnext_tiny"),
    gpu("ResNet-50 + SE, training step", 1.05, "resnet50", STEP, "se"),
    gpu("ResNet-50 + EAN, training step", 1.08, "resnet50", STEP, "ean"),
)


def lines_of(results: Path, subject: str, device: str = "cpu") -> list[dict[str, str]]:
    """Return the lines of a subject's results; none where there is no file."""
    return read(results / f"{subject}_{device}.csv")


def table(targets: Sequence[Target], results: Path) -> str:
    """Return the targets and what was measured as text of 80 columns."""
    lines = [("what (paired medians)", "to reach", "measured", "reached")]
    lines += [target.cells(results) for target in targets]
    return "\n".join(f"{a:<45}{b:>10}{c:>15}  {d}".rstrip() for a, b, c, d in lines)
