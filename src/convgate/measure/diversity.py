"""Mean feature cosine distance: how different the channels of a feature map are."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.kernels.cosine_distance import cosine_distance
from convgate.measure.settings import evaluated
from convgate.tables import Readable


@dataclass(frozen=True)
class FeatureDistance(Readable):
    """The distance of one layer, averaged over images."""

    distance: float  # 0 if all channels show one pattern, 1/2 if they are orthogonal
    channels: int  # C
    images: int  # how many images were averaged
    zero_share: float  # share of the channels that were zero everywhere in an image


class DistanceSum:
    r"""The cosine distance over all pairs of channels, averaged over images batch by batch.

        d = 1/C² Σᵢ Σⱼ (1 - cos(Xᵢ, Xⱼ)) / 2

    The sum runs over all C² ordered pairs and so includes the diagonal, whose distance is 0.
    `convgate.kernels.cosine_distance` computes it, without a matrix of the pairs, in float32 or
    better. A channel that is zero everywhere has cosine 0 to every channel, itself included.

    Source: doi 10.32604/cmc.2025.059966, eq. 4; halved as in ConvNeXt V2 (arXiv 2301.00808, 3.1).
    """

    def __init__(self) -> None:
        self._distance = 0.0
        self._zeros = 0
        self._channels = 0
        self._images = 0

    def add(self, features: Tensor) -> None:
        """Add a batch: features (N, C, ...), a feature map for each channel."""
        if features.ndim < 3 or features.numel() == 0:
            shape = tuple(features.shape)
            raise InputError(f"features of shape {shape} have no maps; give (N, C, H, W)")
        distance, zeros = cosine_distance(features.detach())
        self._distance += float(distance.double().sum())
        self._zeros += int(zeros.sum())
        self._channels = features.shape[1]
        self._images += features.shape[0]

    def result(self) -> FeatureDistance:
        """Return the average over what was added."""
        if not self._images:
            raise InputError("no feature map was given; give at least one image")
        return FeatureDistance(
            distance=max(0.0, self._distance / self._images),
            channels=self._channels,
            images=self._images,
            zero_share=self._zeros / (self._images * self._channels),
        )


def feature_distances(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    layers: Sequence[str] | None = None,
    *,
    channels_last: Collection[str] = (),
) -> dict[str, FeatureDistance]:
    """Measure the outputs of ``layers`` while the images pass through ``model`` once.

    Args:
        model: any module; it is left as it was.
        images: a batch, or batches, on the model's device.
        layers: module paths; without it, the deepest layer that returns a feature map (N, C, H, W)
            of more than one position.
        channels_last: those of the layers that return (N, H, W, C).

    Raises:
        InputError: if a layer is unknown, returns no feature map, or none was found.
    """
    batches = [images] if isinstance(images, Tensor) else images
    iterator = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise InputError("there are no images to measure the feature distance on")
    names = [deepest_map(model, first)] if layers is None else list(layers)
    sums = {name: DistanceSum() for name in names}
    with evaluated(model), _watched(model, sums, channels_last):
        model(first)
        for batch in iterator:
            model(batch)
    return {name: total.result() for name, total in sums.items()}


def deepest_map(model: nn.Module, images: Tensor) -> str:
    """Return the path of the module that is last to return a feature map with H W > 1."""
    last: list[str] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2:].numel() > 1:
                last[:] = [name]

        return hook

    with ExitStack() as stack, evaluated(model):
        for name, module in model.named_modules():
            if name:
                stack.enter_context(module.register_forward_hook(note(name)))
        model(images[:1])
    if not last:
        raise InputError("no layer of the model returns a feature map; name the layers")
    return last[0]


@contextmanager
def _watched(
    model: nn.Module, sums: dict[str, DistanceSum], channels_last: Collection[str]
) -> Iterator[None]:
    modules = dict(model.named_modules())
    for name in sums:
        if name not in modules:
            raise unknown("layer", name, modules)

    def note(name: str, total: DistanceSum) -> Any:
        if name in channels_last:
            return lambda module, args, out: total.add(out.permute(0, 3, 1, 2))
        return lambda module, args, out: total.add(out)

    with ExitStack() as stack:
        for name, total in sums.items():
            stack.enter_context(modules[name].register_forward_hook(note(name, total)))
        yield
