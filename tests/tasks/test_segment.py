import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.tasks.backbone import create_backbone
from convgate.tasks.segment import create_segmenter, list_segmenters


def small(classes=3):
    torch.manual_seed(0)
    backbone = create_backbone("selnext_atto", stem_stride=2, depths=(1, 1, 1, 1))
    return create_segmenter("deeplabv3", backbone, num_classes=classes)


def resnet50():
    return create_segmenter(
        "deeplabv3", create_backbone("resnet50", output_stride=16), num_classes=21
    )


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_with_resnet50():
    with torch.device("meta"):
        model = resnet50()
        theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21)
    assert parameters(model) == parameters(theirs) == 39_638_869


@pytest.mark.parametrize(
    ("gate", "options", "millions"),
    [
        ("se", {"reduction": 16, "bias": False}, "39.796"),
        ("ca", {"reduction": 16, "bias": False, "min_hidden": 1}, "39.875"),
        ("cbam", {"reduction": 32, "bias": False, "norm": False}, "39.719"),
        ("ela_s", {}, "39.790"),
    ],
)
def test_parameters_of_table_8(gate, options, millions):
    """A gate after each of the sixteen 3x3; the printed count leaves group norms out."""
    with torch.device("meta"):
        model = resnet50()
        report = insert(model, gate, at="spatial", start="paper", **options)
    assert len(report.rows) == 16
    assert sum(row.channels for row in report.rows) == 3776
    norms = sum(parameters(m) for m in model.modules() if isinstance(m, nn.GroupNorm))
    assert f"{(parameters(model) - norms) / 1e6:.3f}" == millions


def test_dilation_is_in_the_last_stage_alone():
    with torch.device("meta"):
        model = resnet50()
    dilated = {
        name: module.dilation[0]
        for name, module in model.backbone.body.named_modules()
        if isinstance(module, nn.Conv2d) and module.dilation != (1, 1)
    }
    assert dilated == {"layer4.1.conv2": 2, "layer4.2.conv2": 2}
    rates = [conv[0].dilation[0] for conv in model.head[0].convs[1:4]]
    assert rates == [6, 12, 18]
    maps = model.eval()(torch.empty(1, 3, 65, 33, device="meta"))
    assert maps.shape == (1, 21, 65, 33)


def test_rates_follow_the_stride():
    with torch.device("meta"):
        backbone = create_backbone("resnet18", output_stride=8)
        model = create_segmenter("deeplabv3", backbone, num_classes=2)
    assert [conv[0].dilation[0] for conv in model.head[0].convs[1:4]] == [12, 24, 36]


def test_a_training_step_reaches_every_parameter():
    model = small().train()
    masks = torch.randint(3, (2, 48, 40))
    losses = model(torch.rand(2, 3, 48, 40), masks)
    assert list(losses) == ["loss"]
    losses["loss"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_loss_leaves_ignored_pixels_out():
    model = small().train()
    model.head = nn.Conv2d(128, 3, 1)
    images = torch.rand(2, 3, 32, 32)
    masks = torch.randint(3, (2, 32, 32))
    masks[0, :20] = 255
    loss = model(images, masks)["loss"]
    with torch.no_grad():
        logits = model.eval()(images)
    log_p = torch.log_softmax(logits, 1)
    counted = [
        -log_p[n, masks[n, y, x], y, x]
        for n in range(2)
        for y in range(32)
        for x in range(32)
        if masks[n, y, x] != 255
    ]
    assert len(counted) == 2 * 32 * 32 - 20 * 32
    torch.testing.assert_close(loss, torch.stack(counted).mean())


def test_no_pixel_that_counts_is_no_loss():
    model = small().train()
    loss = model(torch.rand(2, 3, 32, 32), torch.full((2, 32, 32), 255))["loss"]
    assert loss == 0
    loss.backward()


def test_images_are_normalised_as_the_backbone_was_trained():
    model = small().eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(torch.tensor([0.485, 0.456, 0.406])[None, :, None, None].expand(1, 3, 32, 32))
    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 32, 32))


def test_what_training_needs():
    model = small().train()
    with pytest.raises(InputError, match="needs masks"):
        model(torch.rand(2, 3, 32, 32))
    with pytest.raises(InputError, match="batch of 2 or more"):
        model(torch.rand(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.int64))


def test_names():
    assert list_segmenters() == ["deeplabv3"]
    with pytest.raises(InputError, match="did you mean 'deeplabv3'"):
        create_segmenter("deeplab", create_backbone("selnext_atto"), num_classes=2)


@pytest.mark.slow
def test_two_images_are_learnt():
    torch.manual_seed(0)
    model = small().train()
    images = torch.full((2, 3, 96, 96), 0.3)
    masks = torch.zeros(2, 96, 96, dtype=torch.int64)
    images[0, 0, 16:80, 8:88], masks[0, 16:80, 8:88] = 1.0, 1
    images[1, 2, 16:96, 8:72], masks[1, 16:96, 8:72] = 1.0, 2
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(80):
        optimiser.zero_grad()
        model(images, masks)["loss"].backward()
        optimiser.step()
    with torch.no_grad():
        found = model.eval()(images).argmax(1)
    for label in range(3):
        shared = ((found == label) & (masks == label)).sum()
        assert shared / ((found == label) | (masks == label)).sum() > 0.9
