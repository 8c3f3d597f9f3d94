"""From a picture to what a network takes, as its card says and never as a guess."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from convgate.errors import CorruptFile, InputError
from convgate.models.create import TORCHVISION
from convgate.pictures.archives import read_file
from convgate.pictures.decoding import decode, shrink, square, to_tensor


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a picture becomes an input: cut to a size, then normalised."""

    input_size: tuple[int, int, int]  # C, H, W
    mean: tuple[float, ...]  # of each channel in 0 .. 1, taken off before dividing by ``std``
    std: tuple[float, ...]  # of each channel in 0 .. 1
    # "square" as this package's training does (a picture of exactly the size stays as it is),
    # "timm" with the three values below, or "shrink" until no side exceeds the size, as detectors
    # take pictures
    resize: Literal["square", "timm", "shrink"]
    crop_pct: float = 0.875  # share of the resized picture's side that the crop keeps
    crop_mode: str = "center"  # "center", "squash" or "border"
    interpolation: str = "bicubic"  # of the resizing

    def __post_init__(self) -> None:
        channels, *sides = self.input_size
        if channels not in (1, 3) or min(sides) < 1 or not 0 < self.crop_pct <= 1:
            raise InputError(f"images of {self.input_size}, crop {self.crop_pct}, cannot be made")
        if len(self.mean) != channels or len(self.std) != channels or min(self.std) <= 0:
            raise InputError(f"mean {self.mean} and std {self.std} are not of {channels} channels")

    @property
    def image_px(self) -> int:
        return self.input_size[-1]

    @property
    def geometry(self) -> "Preprocessing":
        """All but the normalising: networks of equal geometry see the same pixels."""
        channels = self.input_size[0]
        return replace(self, mean=(0.0,) * channels, std=(1.0,) * channels)

    def with_size(self, image_px: int) -> "Preprocessing":
        """Return the same for square inputs of another size."""
        return replace(self, input_size=(self.input_size[0], image_px, image_px))

    def pixels(self, picture: Image.Image) -> Tensor:
        """Cut one upright RGB picture to what the network sees: (C, H, W), uint8."""
        picture = picture.convert("L") if self.input_size[0] == 1 else picture
        if self.resize == "shrink":
            return to_tensor(shrink(picture, self.image_px))
        if self.resize == "timm":
            return to_tensor(self._timm(picture))
        return to_tensor(square(picture, self.image_px))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn pixels into an input, on their device: uint8 (..., C, H, W) -> float32."""
        mean, std = (
            torch.tensor(v, device=pixels.device)[:, None, None] for v in (self.mean, self.std)
        )
        return (pixels.float() / 255 - mean) / std

    def tensor(self, picture: Image.Image) -> Tensor:
        """Return one upright RGB picture as an input: (C, H, W), float32."""
        return self.normalise(self.pixels(picture))

    def batch(self, paths: Sequence[Path]) -> Tensor:
        """Read image files: (N, C, H, W), float32."""
        return torch.stack([self.tensor(read_picture(path)) for path in paths])

    @cached_property
    def _timm(self) -> Any:
        """Resizing and cropping as timm builds them, without what comes after."""
        transform = create_transform(
            input_size=self.input_size,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
        )
        steps = [s for s in transform.transforms if "Tensor" not in type(s).__name__]
        transform.transforms = [s for s in steps if type(s).__name__ != "Normalize"]
        return transform


def read_picture(path: Path) -> Image.Image:
    """Read one image file as an upright RGB picture."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        return decode(read_file(path), str(path))
    except CorruptFile as error:  # its way out is meant for a whole set of pictures
        raise CorruptFile(f"{str(error).partition(';')[0]}; give another file") from None


def noted_images(network: Any, name: str) -> Preprocessing | None:
    """Return what the library notes of a network's images; None where it notes nothing."""
    if name.startswith(TORCHVISION):
        return of_torchvision(name)
    config: dict[str, Any] | None = getattr(network, "pretrained_cfg", None)
    return of_timm(config) if config else None


def of_timm(config: dict[str, Any]) -> Preprocessing:
    found = resolve_data_config({}, pretrained_cfg=config)  # type: ignore[no-untyped-call]
    return Preprocessing(
        input_size=tuple(found["input_size"]),
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        resize="timm",
        crop_pct=float(found["crop_pct"]),
        crop_mode=found["crop_mode"],
        interpolation=found["interpolation"],
    )


def of_torchvision(name: str) -> Preprocessing:
    weights = torchvision.models.get_model_weights(name.removeprefix(TORCHVISION))
    found = weights.DEFAULT.transforms()
    side, resized = found.crop_size[0], found.resize_size[0]
    return Preprocessing(
        input_size=(3, side, side),
        mean=tuple(found.mean),
        std=tuple(found.std),
        resize="timm",
        crop_pct=side / resized,
        interpolation=found.interpolation.value,
    )
