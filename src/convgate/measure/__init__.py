"""Honest numbers about any module: cost, bytes, memory, latency with interval, diversity."""

from convgate.measure.cost import Cost, count
from convgate.measure.diversity import FeatureDistance, feature_distances
from convgate.measure.environment import environment
from convgate.measure.latency import UnreliableMeasurement, compare_latency
from convgate.measure.measurement import Counts, Measurement, comparison_table, count_all, measure
from convgate.measure.memory import PeakMemory, peak_memory
from convgate.measure.presets import PRESETS, PresetReport, PresetRow, run_preset
from convgate.measure.report import LatencyReport, LatencyRow
from convgate.measure.settings import Setting

__all__ = [
    "PRESETS", "Cost", "Counts", "FeatureDistance", "LatencyReport", "LatencyRow", "Measurement",
    "PeakMemory", "PresetReport", "PresetRow", "Setting", "UnreliableMeasurement",
    "compare_latency", "comparison_table", "count", "count_all", "environment", "feature_distances",
    "measure", "peak_memory", "run_preset",
]  # fmt: skip
