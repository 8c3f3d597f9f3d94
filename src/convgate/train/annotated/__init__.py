"""Pictures with objects in them: boxes, masks, and the class of every pixel."""

from convgate.train.annotated.opening import Orders, SceneData, Wanted, open_scenes
from convgate.train.annotated.specs import SceneSpec

__all__ = ["Orders", "SceneData", "SceneSpec", "Wanted", "open_scenes"]
