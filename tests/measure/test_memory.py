"""Peak and weight bytes against a hand count of what is alive at each moment."""

import pytest
import torch
from torch import nn

from convgate.measure import peak_memory

F32 = 4


def test_chain_holds_two_neighbours_at_a_time():
    # x (1, 2, 4, 4) is 32 numbers; conv gives 64 (x stays with the caller), the next conv 128
    # while its input of 64 is alive, the last 16 while 128 are: the peak is 64 + 128.
    net = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False),
        nn.Conv2d(4, 8, 1, bias=False),
        nn.Conv2d(8, 1, 1, bias=False),
    )
    found = peak_memory(net, torch.randn(1, 2, 4, 4))
    assert found.activation_bytes == F32 * (64 + 128)
    assert found.weight_bytes == F32 * (8 + 32 + 8)
    assert found.input_bytes == F32 * 32
    assert found.peak_bytes == F32 * (64 + 128 + 48 + 32)
    assert found.peak_mib == found.peak_bytes / 2**20
    assert found.counter == "tensors"


def test_in_place_and_views_need_no_memory():
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(inplace=True), nn.Flatten())
    assert peak_memory(net, torch.randn(1, 2, 4, 4)).activation_bytes == F32 * 64


def test_what_the_caller_holds_is_not_an_activation():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten())
    assert peak_memory(net, torch.randn(1, 2, 4, 4)).activation_bytes == 0


class Residual(nn.Module):
    def forward(self, x):
        y = x * 2  # 64 alive
        z = torch.relu(y)  # 128 alive: y waits for the addition
        return y + z  # 192 alive


def test_a_shortcut_keeps_its_tensor_alive():
    assert peak_memory(Residual(), torch.randn(1, 4, 4, 4)).activation_bytes == F32 * 192


def test_buffers_are_weights_and_shared_storage_counts_once():
    net = nn.BatchNorm2d(4)
    expected = F32 * (4 * 4) + 8  # scale, shift, mean, variance, and one int64
    assert peak_memory(net, torch.randn(2, 4, 3, 3)).weight_bytes == expected
    layer = nn.Linear(4, 4, bias=False)
    twice = nn.Sequential(layer, layer)
    assert peak_memory(twice, torch.randn(1, 4)).weight_bytes == F32 * 16


def test_meta_device_promises_the_same():
    def net():
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))

    real = peak_memory(net(), torch.randn(1, 3, 8, 8))
    with torch.device("meta"):
        promised = peak_memory(net(), torch.randn(1, 3, 8, 8))
    assert promised.weight_bytes == real.weight_bytes
    # The pool's indices are counted on both; a norm's saved statistics may differ by device.
    assert promised.activation_bytes == pytest.approx(real.activation_bytes, abs=F32 * 16)


@pytest.mark.cuda
def test_allocator_peak_covers_the_tensors():
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU()).cuda()
    found = peak_memory(net, torch.randn(8, 3, 64, 64, device="cuda"))
    assert found.counter == "allocator"
    assert found.activation_bytes >= 8 * 64 * 62 * 62 * F32
