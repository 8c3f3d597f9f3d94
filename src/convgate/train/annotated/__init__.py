"""Pictures with objects in them: boxes, masks, and the class of every pixel."""

from convgate.train.annotated.augment import ObjectAugmentSpec
from convgate.train.annotated.opening import BatchPlan, TargetKinds, open_annotated

__all__ = ["BatchPlan", "ObjectAugmentSpec", "TargetKinds", "open_annotated"]
