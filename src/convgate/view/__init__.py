"""Pictures of what networks compute: feature distances, channel scales, class activation maps."""

from convgate.view.cam import activation_map, list_methods
from convgate.view.comparison import compare_maps
from convgate.view.diversity import measure_diversity
from convgate.view.pictures import find_pictures, stream
from convgate.view.scales import find_gates, measure_scales

__all__ = [
    "activation_map",
    "compare_maps",
    "find_gates",
    "find_pictures",
    "list_methods",
    "measure_diversity",
    "measure_scales",
    "stream",
]
