"""A card says where every gate stands, and opening puts the gates there without a trace."""

import json
from dataclasses import replace

import pytest
import torch

from convgate import spec
from convgate.errors import InputError
from convgate.insertion import insert, inserted, remove
from convgate.insertion import replace as exchange
from convgate.models import create_model
from convgate.networks import (
    Card,
    DetectorSpec,
    GateSpec,
    gates_of,
    open_network,
    read_card,
    save_network,
)
from convgate.networks.build import build_network
from convgate.networks.gates import put_gates

WAYS = {
    "sites and options": (
        "resnet10t",
        lambda net: insert(net, {2: "eca", 3: "ela"}, start="paper", groups="<=12", kernel_size=5),
    ),
    "inputs by pattern": ("resnet10t", lambda net: insert(net, "gct", at="layer*.conv1:input")),
    "in the place of attention": ("seresnext26t_32x4d", lambda net: exchange(net, "se", "cbam")),
    "attention taken away": ("seresnext26t_32x4d", lambda net: remove(net, "se")),
    "several at once": (
        "mobilenetv3_small_050",
        lambda net: [exchange(net, "se", "ca", stages=3), insert(net, "srm", at="expanded")],
    ),
    "channels last": ("convnext_atto", lambda net: insert(net, "se", at="hidden", start="paper")),
    "tokens": ("swin_tiny_patch4_window7_224", lambda net: insert(net, "ela", start="paper")),
}


@pytest.fixture
def no_traces(monkeypatch):
    """Let nothing look for sites."""

    def refuse(*_args, **_options):
        raise AssertionError("the network is traced")

    monkeypatch.setattr("convgate.insertion.trace.run", refuse)


def gated(way):
    name, change = WAYS[way]
    torch.manual_seed(0)
    model = create_model(name).eval()
    change(model)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return name, model


def kinds(model):
    return [(path, type(gate)) for path, gate, _ in inserted(model)]


@pytest.mark.parametrize("way", WAYS)
def test_gates_come_back_where_they_stood(way, tmp_path, request):
    name, model = gated(way)
    card = Card(model=name, gates=gates_of(model), weights="drawn")
    save_network(tmp_path / "net.safetensors", model.state_dict(), card)
    request.getfixturevalue("no_traces")
    again = open_network(tmp_path / "net.safetensors")
    x = torch.randn(1, *model.pretrained_cfg["input_size"])
    with torch.no_grad():
        assert torch.equal(again.model(x), model(x))
    assert again.card == card
    assert gates_of(again.model) == card.gates
    before, after = (
        {path: type(gate) for path, gate, _ in inserted(m)} for m in (model, again.model)
    )
    assert before == after


def test_gates_of_an_opened_file_are_gates(tmp_path):
    name, model = gated("sites and options")
    card = Card(model=name, gates=gates_of(model))
    save_network(tmp_path / "net.safetensors", model.state_dict(), card)
    again = open_network(tmp_path / "net.safetensors").model
    with pytest.raises(InputError, match="carries the gate 'eca' already"):
        insert(again, "se", stages=2)
    report = remove(again)
    assert [row.gate for row in report.rows] == ["none"] * 2
    assert again.state_dict().keys() == create_model(name).state_dict().keys()


def test_a_detector_has_its_gates_below_its_body(tmp_path):
    card = Card(
        task="detect",
        model="resnet10t",
        detector=DetectorSpec(name="retinanet"),
        classes=("cat",),
    )
    model = build_network(card, gates=[GateSpec(name="se"), GateSpec(name="eca", at="*.ends.0")])
    card = replace(card, gates=gates_of(model))
    paths = {place.path for gate in card.gates for place in gate.places}
    assert {path.partition(".body.")[0] for path in paths} == {
        "backbone.bottom",
        "backbone.bottom.ends.0",
    }
    again = build_network(card)
    again.load_state_dict(model.state_dict())
    assert gates_of(again) == card.gates


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("path", "layer9.0", "recorded at 'layer9.0', and resnet10t has no such part"),
        ("path", "", "recorded at '', and resnet10t has no such part"),
        ("path", "layer1", "recorded at 'layer1', and resnet10t has no such part that can carry"),
        ("path", "layer1.0.bn2.weight", "has no such part"),
        ("channels", 0, "for a map of 0 x 22 x 22, which is none"),
        ("grid", [0, 4], "for a map of 128 x 0 x 4, which is none"),
        ("where", "inside", "'gates.0..places.0..where' must be one of 'output', 'input'"),
        ("layout", "NDHWC", "must be one of 'NCHW', 'NHWC', 'NLC'"),
        ("stage", "one", "must be a whole number"),
    ],
)
def test_a_wrong_place_is_one_sentence(key, value, sentence, tmp_path):
    name, model = gated("sites and options")
    table = spec.to_table(Card(model=name, gates=gates_of(model)))
    table["gates"][0]["places"][0][key] = value
    with pytest.raises(InputError) as refused:
        card = read_card(json.dumps(table), tmp_path / "net.safetensors")
        build_network(card)
    shown = str(refused.value).replace("[", ".").replace("]", ".")
    assert sentence in shown and "\n" not in shown


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "selm"}, "unknown gate 'selm'; did you mean 'seln'"),
        ({"name": "os:system"}, "is no class that derives from convgate.Gate"),
        ({"name": "antigravity:Gate"}, "which a file may not import"),
        ({"options": {"reduktion": 4}}, "unknown option 'reduktion'"),
        ({"options": {"kernel_size": "x"}}, "kernel_size='x' must be a whole number"),
    ],
)
def test_a_wrong_gate_is_one_sentence(change, sentence):
    name, model = gated("sites and options")
    first, *_ = gates_of(model)
    with pytest.raises(InputError, match=sentence):
        put_gates(create_model(name), [replace(first, **change)], name)


def test_a_place_is_taken_once():
    name, model = gated("sites and options")
    with pytest.raises(InputError, match="carries the gate 'eca' already"):
        put_gates(model, gates_of(model), name)


def test_a_card_of_another_version_is_told(tmp_path):
    table = spec.to_table(Card(model="resnet8")) | {"version": 1}
    with pytest.raises(InputError, match="has version 1, and this convgate reads 2; use the"):
        read_card(json.dumps(table), tmp_path / "net.safetensors")
