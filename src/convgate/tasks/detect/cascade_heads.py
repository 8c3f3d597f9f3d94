"""Box and mask heads in a row, each on the boxes that the one before it refined.

"Cascade R-CNN: Delving into High Quality Object Detection", Cai and Vasconcelos 2018.
https://arxiv.org/abs/1712.00726
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
)
from torchvision.ops import clip_boxes_to_image, generalized_box_iou_loss

from convgate.errors import unknown

Target = dict[str, Tensor]
Sizes = list[tuple[int, int]]

GIOU_WEIGHT = 10.0
BOX_LOSSES = ("giou", "smooth_l1")


class CascadeRoIHeads(nn.Module):
    """torchvision's heads, stage after stage.

    In training every stage draws its own boxes: those of the stage before it, refined, and the
    objects' own. In evaluation the boxes are the last stage's, the class logits and the mask
    probabilities the mean over all stages. A box of no object is refined as its likeliest class.

    Source: arXiv 1712.00726, section 3; the sampling, the averages and GIoU (weight 10, on decoded
        boxes) as in the configurations of facebookresearch/ConvNeXt, object_detection.

    Args:
        stages: Each with its own overlap thresholds, box deviations and heads.
        weights: Of each stage's losses.
        box_loss: "giou", or "smooth_l1" as torchvision's own heads have it.
    """

    def __init__(
        self, stages: Sequence[RoIHeads], weights: Sequence[float], *, box_loss: str = "giou"
    ) -> None:
        super().__init__()
        if box_loss not in BOX_LOSSES:
            raise unknown("box loss", box_loss, BOX_LOSSES)
        self.stages = cast(Any, nn.ModuleList(stages))
        self.weights = tuple(weights)
        self.box_loss = box_loss

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: Sizes,
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        if self.training:
            return [], self._train(features, proposals, image_shapes, targets or [])
        return self._detect(features, proposals, image_shapes), {}

    def _train(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        shapes: Sizes,
        targets: list[Target],
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        objects = [target["boxes"] for target in targets]
        for i, (stage, weight) in enumerate(zip(self.stages, self.weights, strict=True), 1):
            drawn, matched, labels, codes = stage.select_training_samples(list(proposals), targets)
            logits, deltas = _boxes(stage, features, drawn, shapes)
            kind, box = self._box_losses(stage, logits, deltas, drawn, labels, codes)
            mask = _mask_loss(stage, features, drawn, shapes, matched, labels, targets)
            terms = {"loss_classifier": kind, "loss_box_reg": box, "loss_mask": mask}
            losses |= {f"{name}_{i}": weight * term for name, term in terms.items()}
            refined = _refine(stage, logits, deltas, drawn, shapes, torch.cat(labels))
            # The objects' own boxes join every stage anew.
            proposals = [
                boxes[~_among(before, own)]
                for boxes, before, own in zip(refined, drawn, objects, strict=True)
            ]
        return losses

    def _box_losses(
        self,
        stage: RoIHeads,
        logits: Tensor,
        deltas: Tensor,
        drawn: list[Tensor],
        labels: list[Tensor],
        codes: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        if self.box_loss == "smooth_l1":
            return fastrcnn_loss(logits, deltas, labels, codes)
        kinds, boxes = torch.cat(labels), torch.cat(drawn)
        some = kinds > 0
        chosen = deltas.reshape(len(deltas), -1, 4)[some, kinds[some]]
        decoded = stage.box_coder.decode_single(chosen, boxes[some])
        wanted = stage.box_coder.decode_single(torch.cat(list(codes))[some], boxes[some])
        overlap = generalized_box_iou_loss(decoded, wanted, reduction="sum")
        return F.cross_entropy(logits, kinds), GIOU_WEIGHT * overlap / max(len(kinds), 1)

    def _detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: Sizes
    ) -> list[Target]:
        every, before = [], proposals
        for stage in self.stages:
            before = proposals
            logits, deltas = _boxes(stage, features, before, shapes)
            every.append(logits)
            proposals = _refine(stage, logits, deltas, before, shapes)
        mean = torch.stack(every).mean(0)
        found = self.stages[-1].postprocess_detections(mean, deltas, before, shapes)
        names = ("boxes", "scores", "labels")
        results = [dict(zip(names, image, strict=True)) for image in zip(*found, strict=True)]
        boxes, labels = found[0], found[2]
        masks = [
            maskrcnn_inference(_masks(stage, features, boxes, shapes), labels)
            for stage in self.stages
        ]
        for result, *probabilities in zip(results, *masks, strict=True):
            result["masks"] = torch.stack(probabilities).mean(0)
        return results


def _boxes(
    stage: RoIHeads, features: dict[str, Tensor], boxes: list[Tensor], shapes: Sizes
) -> tuple[Tensor, Tensor]:
    return stage.box_predictor(stage.box_head(stage.box_roi_pool(features, boxes, shapes)))


def _masks(
    stage: RoIHeads, features: dict[str, Tensor], boxes: list[Tensor], shapes: Sizes
) -> Tensor:
    return stage.mask_predictor(stage.mask_head(stage.mask_roi_pool(features, boxes, shapes)))


def _mask_loss(
    stage: RoIHeads,
    features: dict[str, Tensor],
    drawn: list[Tensor],
    shapes: Sizes,
    matched: list[Tensor],
    labels: list[Tensor],
    targets: list[Target],
) -> Tensor:
    some = [kinds > 0 for kinds in labels]
    boxes = [b[s] for b, s in zip(drawn, some, strict=True)]
    objects = [m[s] for m, s in zip(matched, some, strict=True)]
    logits = _masks(stage, features, boxes, shapes)
    masks, kinds = [t["masks"] for t in targets], [t["labels"] for t in targets]
    return maskrcnn_loss(logits, boxes, masks, kinds, objects)


@torch.no_grad()
def _refine(
    stage: RoIHeads,
    logits: Tensor,
    deltas: Tensor,
    boxes: list[Tensor],
    shapes: Sizes,
    labels: Tensor | None = None,
) -> list[Tensor]:
    kinds = logits[:, 1:].argmax(1) + 1
    if labels is not None:
        kinds = torch.where(labels > 0, labels, kinds)
    every = stage.box_coder.decode(deltas, boxes).reshape(len(kinds), -1, 4)
    moved = every[torch.arange(len(kinds), device=kinds.device), kinds]
    split = moved.split([len(b) for b in boxes])
    return [clip_boxes_to_image(b, shape) for b, shape in zip(split, shapes, strict=True)]


def _among(boxes: Tensor, others: Tensor) -> Tensor:
    """Tell which boxes are exactly one of the others."""
    return (boxes[:, None] == others[None].to(boxes.dtype)).all(2).any(1)
