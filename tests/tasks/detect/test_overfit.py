"""Every detector learns two images by heart: boxes and masks to an average precision above 0.9."""

import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from convgate.tasks.detect import DETECTORS, create_detector, yolof_parts

SETTINGS = {  # steps, learning rate
    "cascade_mask_rcnn": (250, 1e-3),
    "faster_rcnn": (150, 1e-3),
    "mask_rcnn": (150, 1e-3),
    "retinanet": (150, 2e-3),
    "ssdlite320": (300, 6e-3),
    "yolof": (500, 1e-3),
    "yolox": (150, 2e-2),
}

LARGER = {"yolox": {"min_size": 128, "max_size": 192}}
"""On maps of a few cells, a batch norm's running variance is not what it trained with."""


def lighten(model):
    """Let an R-CNN draw few boxes, for there are few objects."""
    heads = getattr(model, "roi_heads", None)
    if heads is None:
        return
    model.rpn._post_nms_top_n = {"training": 100, "testing": 50}
    for stage in getattr(heads, "stages", [heads]):
        stage.fg_bg_sampler.batch_size_per_image = 32


def learn(model, images, targets, steps, rate):
    """Steps of one rate, then of a falling one."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, 0.02 + (steps - step) / (0.4 * steps))
    )
    for _ in range(steps):
        optimiser.zero_grad()
        sum(model.train()(images, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        schedule.step()


def settle(model, images, targets):
    """Measure the batch norms' statistics anew: a short run is over before they have followed."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model.train()(images, targets)


def precision(found, targets, kind):
    metric = MeanAveragePrecision(iou_type=kind, backend="pycocotools")
    if kind == "segm":
        found = [{**image, "masks": image["masks"][:, 0] > 0.5} for image in found]
    metric.update(found, targets)
    return metric.compute()["map"].item()


LIGHTEST = "yolox"


@pytest.mark.timeout(1200)  # a minute on an idle core, many on a shared one
@pytest.mark.filterwarnings("ignore")  # of the metric's own libraries
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == LIGHTEST else pytest.mark.slow) for n in DETECTORS],
)
def test_two_images_are_learnt(name, tiny, monkeypatch):
    monkeypatch.setattr(yolof_parts, "WIDTH", 128)
    monkeypatch.setattr(yolof_parts, "HIDDEN", 64)
    torch.manual_seed(0)
    options = tiny.options[name] | LARGER.get(name, {})
    model = create_detector(name, tiny.backbone(), num_classes=3, **options)
    lighten(model)
    images, targets = tiny.pictures()
    learn(model, images, targets, *SETTINGS[name])
    if name == LIGHTEST:
        settle(model, images, targets)
    with torch.no_grad():
        found = model.eval()(images)
    assert precision(found, targets, "bbox") > 0.9
    if "masks" in found[0]:
        assert precision(found, targets, "segm") > 0.9
