"""Pictures of what networks compute: feature distances, channel scales, class activation maps."""

from convgate.view.cam import activation_map, compare_maps, list_methods
from convgate.view.diversity import measure_diversity
from convgate.view.pictures import stream
from convgate.view.scales import find_gates, measure_scales

__all__ = [
    "activation_map",
    "compare_maps",
    "find_gates",
    "list_methods",
    "measure_diversity",
    "measure_scales",
    "stream",
]
