"""Small networks and photographs that tests can look at."""

import pytest
import torch
from PIL import Image
from torch import nn

from convgate.networks import Card, Network, Preprocessing

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def make_network(model, image_px=16, classes=("cat", "dog", "fox"), trained=True, label="net"):
    size = (3, image_px, image_px)
    images = Preprocessing(input_size=size, mean=MEAN, std=STD, resize="square")
    weights = "drawn by a test" if trained else "random"
    card = Card(model=label, classes=classes, images=images, weights=weights)
    return Network(model.eval(), card, label, label)


class Tiny(nn.Module):
    """Two convolutions, the mean of each channel, one linear layer; no activation at the end."""

    def __init__(self, channels=6, classes=3):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.last = nn.Conv2d(4, channels, 3, stride=2, padding=1)
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        return self.head(self.last(torch.relu(self.first(x))).mean((2, 3)))


@pytest.fixture
def network():
    return make_network


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return make_network(Tiny())


@pytest.fixture
def pixels():
    """Eight photographs, uint8 (8, 3, 16, 16)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (8, 3, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path):
    """Training and validation photographs of two classes: 3 + 4 of cats, 3 + 2 of dogs."""
    top = tmp_path / "photos"
    for split, counts in {"train": (3, 3), "val": (4, 2)}.items():
        for name, count in zip(("cat", "dog"), counts, strict=True):
            place = top / split / name
            place.mkdir(parents=True)
            for i in range(count):
                shade = 40 * i + (20 if split == "val" else 0)
                Image.new("RGB", (20, 24), (shade, 90, 200 - shade)).save(place / f"{i}.png")
    return top
