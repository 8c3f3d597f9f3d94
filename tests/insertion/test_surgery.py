"""insert, replace and remove: counts of the papers, state dicts, refusals that change nothing."""

import copy
import io

import pytest
import timm
import torch
import torchvision
from torch import nn

from convgate.errors import InputError
from convgate.gates import ECA, SE, SELN
from convgate.insertion import insert, inserted, remove, replace


def build(name: str) -> nn.Module:
    """Return a network without data: enough to count."""
    with torch.device("meta"):
        if name.startswith("torchvision/"):
            return getattr(torchvision.models, name.removeprefix("torchvision/"))()
        return timm.create_model(name)


def millions(model: nn.Module) -> float:
    return round(sum(p.numel() for p in model.parameters()) / 1e6, 4)


# Counts that were found to give the papers' printed ones; the true count where a paper's counter
# overlooks parameters of the gate.
@pytest.mark.parametrize(
    ("name", "gate", "at", "stages", "options", "expected"),
    [
        ("torchvision/resnet50", "se", "block_end", None, {}, 28.0880),
        ("resnet50", "se", "block_end", None, {}, 28.0880),
        ("torchvision/resnet50", "cbam", "block_end", None, {"bias": False}, 28.0736),
        ("torchvision/resnet50", "sge", "block_end", None, {}, 25.5591),
        ("torchvision/resnet50", "ca", "block_end", None, {"reduction": 24}, 28.0820),
        ("torchvision/resnet50", "ean", "block_end", None, {"groups": 64}, 25.5580),
        ("torchvision/mobilenet_v2", "se", "expanded", None, {}, 4.0763),
        ("torchvision/mobilenet_v2", "ean", "expanded", None, {}, 3.5084),
        ("torchvision/mobilenet_v2", "ca", "expanded", None, {"reduction": 16}, 4.3669),
        ("torchvision/mobilenet_v2", "ela_s", "spatial", range(2, 6), {}, 3.8032),
        ("mobilenetv2_100", "ela_l", "spatial", range(2, 6), {}, 3.9169),
        ("convnext_tiny", "se", "hidden", None, {}, 35.0869),
        ("torchvision/convnext_tiny", "seln", "hidden", None, {}, 35.1399),
    ],
)
def test_published_parameter_counts(name, gate, at, stages, options, expected):
    net = build(name)
    plain = millions(net)
    report = insert(net, gate, at=at, stages=stages, start="paper", **options)
    assert millions(net) == expected
    assert all(p.is_meta for p in net.parameters())
    assert report.params == pytest.approx(1e6 * (expected - plain), abs=200)


@pytest.mark.parametrize(("gate", "expected"), [("ela_b", 25.5922), ("ela_l", 25.7835)])
def test_ela_after_the_stem_and_the_stages(gate, expected):
    net = build("torchvision/resnet50")
    for at in ("stem_end", "stage_end"):
        insert(net, gate, at=at, start="paper")
    assert millions(net) == expected


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_large", "mobilenetv3_large_100"])
def test_mobilenet_v3_with_other_attention(name):
    net = build(name)
    assert millions(net) == 5.4830
    assert millions_after(remove, net, "se") == 3.9708
    assert millions_after(replace, net, "se", "eca", kernel_size=3) == 3.9708
    assert millions_after(replace, net, "se", "seln", reduction=4, divisor=8) == 5.4911
    assert millions_after(replace, net, "se", "se", reduction=4, divisor=8) == 5.4830


def millions_after(change, net: nn.Module, *arguments: str, **options: int) -> float:
    twin = copy.deepcopy(net)
    report = change(twin, *arguments, **options)
    difference = sum(p.numel() for p in twin.parameters()) - sum(
        p.numel() for p in net.parameters()
    )
    assert report.params == difference
    return millions(twin)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("resnet", "spatial"),
        ("convnext", "hidden"),
        ("convnext", "block_end"),
        ("convnext", "spatial"),
        ("densenet", "stage_end"),
        ("selnext", "block_end"),
    ],
)
def test_a_gate_with_its_own_values_scales_what_flows_there(name, at, backbone):
    """Against a gate applied by hand, in a hook of the test's own, on both orders of axes."""
    net, x = backbone(name).eval(), torch.randn(2, 3, 64, 64)
    twin = copy.deepcopy(net)
    insert(net, "ca", at=at, stages=2, start="paper")  # it tells height from width
    for path, module, record in inserted(net):
        host, gate = twin.get_submodule(path.rpartition(".")[0]), copy.deepcopy(module)
        nhwc = record.site.layout == "NHWC"

        def scaled(y, gate=gate, nhwc=nhwc):
            return gate(y.movedim(3, 1)).movedim(1, 3) if nhwc else gate(y)

        if record.site.where == "output":
            host.register_forward_hook(lambda _module, _args, y, f=scaled: f(y))
        else:
            host.register_forward_pre_hook(lambda _module, args, f=scaled: f(args[0]))
    assert not torch.equal(net(x), backbone(name).eval()(x))
    torch.testing.assert_close(net(x), twin(x))


def test_checkpoints_before_and_after(backbone):
    """Plain into plain, plain into gated, gated into gated; nothing else."""
    plain, other = backbone("resnet"), backbone("resnet")
    for p in other.parameters():
        nn.init.normal_(p)
    gated, twin = copy.deepcopy(plain), copy.deepcopy(plain)
    insert(gated, "se", start="paper")
    insert(twin, "se", start="paper")
    own = {k: v.clone() for k, v in gated.state_dict().items() if k not in plain.state_dict()}
    gated.load_state_dict(other.state_dict(), strict=True)
    loaded = gated.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in other.state_dict().items())
    assert all(torch.equal(loaded[k], v) for k, v in own.items())
    twin.load_state_dict(gated.state_dict(), strict=True)
    torch.testing.assert_close(twin.state_dict(), gated.state_dict(), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        plain.load_state_dict(gated.state_dict(), strict=True)
    partial = gated.state_dict()
    partial.pop("layer1.0.bn2.gate.squeeze.weight")
    with pytest.raises(RuntimeError, match="Missing key"):
        twin.load_state_dict(partial, strict=True)
    insert(plain, "eca", start="paper")
    with pytest.raises(RuntimeError, match="Unexpected key"):
        plain.load_state_dict(gated.state_dict(), strict=True)


@pytest.mark.parametrize("assign", [False, True])
def test_loading_a_plain_checkpoint_into_a_copy_leaves_the_original(assign, backbone):
    plain = backbone("resnet").state_dict()
    net = backbone("resnet")
    insert(net, "se", start="paper")
    twin = copy.deepcopy(net)
    nn.init.ones_(twin.get_submodule("layer1.0.bn2.gate.squeeze").weight)
    twin.load_state_dict(plain, strict=True, assign=assign)
    weight = twin.get_submodule("layer1.0.bn2.gate.squeeze").weight
    assert isinstance(weight, nn.Parameter) and weight.requires_grad
    assert bool((weight == 1).all())
    assert not (net.get_submodule("layer1.0.bn2.gate.squeeze").weight == 1).all()


@pytest.mark.parametrize("at", ["block_end", "spatial"])
def test_copies_and_files_carry_their_own_gates(at, backbone):
    net, x = backbone("resnet").eval(), torch.randn(2, 3, 32, 32)
    insert(net, "se", at=at, start="paper")
    expected = net(x)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh = backbone("resnet").eval()
    insert(fresh, "se", at=at, start="paper")
    fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(fresh(x), expected)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), expected)
    whole = io.BytesIO()
    torch.save(net, whole)
    whole.seek(0)
    assert torch.equal(torch.load(whole, weights_only=False)(x), expected)
    remove(net)
    assert torch.equal(twin(x), expected)
    assert not list(inserted(net))
    assert len(list(inserted(twin))) == 4


def test_gates_take_mode_type_and_trainability(backbone):
    net = backbone("resnet").to(torch.bfloat16).eval().requires_grad_(False)
    insert(net, "se")
    for _, gate, _ in inserted(net):
        assert not gate.training
        assert all(p.dtype == torch.bfloat16 and p.requires_grad for p in gate.parameters())
    assert net(torch.randn(2, 3, 32, 32, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_replace_exchanges_inserted_gates(backbone):
    net, x = backbone("resnet").eval(), torch.randn(2, 3, 32, 32)
    keys, before = list(net.state_dict()), net(x)
    insert(net, "se", at="spatial", start="paper")
    report = replace(net, "se", "eca", stages=[1, 2])
    assert [row.gate for row in report.rows] == ["eca", "eca"]
    assert [type(gate) for _, gate, _ in inserted(net)][:2] == [ECA, ECA]
    assert [record.gate for _, _, record in inserted(net)] == ["eca", "eca", "se", "se"]
    replace(net, "se", "seln", start="identity", reduction=8)
    replace(net, "eca", "grn", start="identity")
    assert torch.equal(net(x), before)
    remove(net, "spatial")
    assert list(net.state_dict()) == keys


def test_replace_exchanges_own_attention(backbone):
    net, x = backbone("efficientnet").eval(), torch.randn(2, 3, 32, 32)
    without = copy.deepcopy(net)
    remove(without, "se")
    replace(net, "se", "seln", start="identity")
    assert torch.equal(net(x), without(x))
    assert [type(gate) for _, gate, _ in inserted(net)] == [SELN, SELN]
    replace(net, "seln", "eca")
    remove(net)
    assert torch.equal(net(x), without(x))
    assert list(net.state_dict()) == list(without.state_dict())
    with pytest.raises(InputError, match="no 'se' to replace"):
        replace(net, "se", "eca")
    with pytest.raises(InputError, match="nothing to remove at 'se'"):
        remove(net, "se")


def test_remove_takes_one_site(backbone):
    net = backbone("resnet")
    insert(net, "se", at="block_end")
    insert(net, "eca", at="stage_end")
    report = remove(net, "block_end")
    assert report.params == -sum(p.numel() for c in (32, 48, 192, 96) for p in SE(c).parameters())
    assert {record.gate for _, _, record in inserted(net)} == {"eca"}
    assert len(remove(net).rows) == 4
    assert remove(net).rows == ()


REFUSALS = [
    ({"gate": "selm"}, "unknown gate 'selm'; did you mean 'seln'"),
    ({"gate": "se", "reductoin": 4}, "unknown option 'reductoin'; did you mean 'reduction'"),
    ({"gate": "se", "at": "blok_end"}, "unknown site 'blok_end'; did you mean 'block_end'"),
    ({"gate": "se", "at": "hidden"}, "ResNet has no site 'hidden'; it has stem_end, spatial_raw"),
    ({"gate": "se", "at": "layer[34].*.bn9"}, "nearest path is 'layer"),
    ({"gate": "se", "at": "se"}, "use replace"),
    (
        {"gate": "se", "stages": [2, 7]},
        "7 is asked for and 'block_end' is in the stages 1, 2, 3, 4",
    ),
    ({"gate": "se", "stages": []}, "nothing is asked for"),
    ({"gate": "se", "start": "identitty"}, "did you mean 'identity'"),
    ({"gate": "sa", "groups": 32}, r"block_end at layer1.0.bn2: SA: channels=32"),
    ({"gate": "se", "at": "layer[1-4]"}, None),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS)
def test_a_refusal_changes_nothing(arguments, sentence, backbone):
    net = backbone("resnet")
    keys = list(net.state_dict())
    if sentence is None:
        assert len(insert(net, **arguments).rows) == 4
        return
    with pytest.raises(InputError, match=sentence):
        insert(net, **arguments)
    assert list(net.state_dict()) == keys
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_late_refusal_changes_nothing(backbone):
    """Of the widths 32, 48, 192, 96 only the second is no multiple of 32."""
    net = backbone("resnet")
    keys = list(net.state_dict())
    with pytest.raises(InputError, match=r"block_end at layer2.0.bn2: EAN: channels=48"):
        insert(net, "ean", groups=32)
    assert list(net.state_dict()) == keys


def test_one_gate_for_one_place(backbone):
    net = backbone("resnet")
    insert(net, "se", stages=[2])
    with pytest.raises(
        InputError, match=r"layer2.0.bn2 carries the gate 'se' already; use replace"
    ):
        insert(net, "eca")
    assert len(list(inserted(net))) == 1
    net = backbone("efficientnet")
    with pytest.raises(InputError, match="has a part 'gate' of its own"):
        insert(net, "eca", at="blocks.3.0.se", example_input=torch.randn(1, 3, 64, 64))
    with pytest.raises(InputError, match="unknown gate 'selm'"):
        replace(net, "selm", "se")
    with pytest.raises(InputError, match="no 'eca' to replace; its inserted gates are: none"):
        replace(net, "eca", "se")
