"""Class activation maps: the methods of the grad-cam package on any networks' feature maps."""

import contextlib
import inspect
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from convgate.errors import InputError, missing, unknown
from convgate.networks import Network, check_task, class_words, classes_called, distinct
from convgate.view.maps import FeatureMap, choose_maps
from convgate.view.pictures import OnProgress

NOT_OF_A_LAYER = ("FullGrad", "RefineCAM", "SESS")
"""What the package has for whole networks, or for the maps of other methods."""


@dataclass(frozen=True)
class ClassScores:
    """What a network says of a picture, and of the class that its maps are of."""

    predicted: int  # the class of the largest output
    probability: float  # its softmax
    target: int  # the class that the maps are of
    target_probability: float


@dataclass(frozen=True)
class ClassMaps:
    """What one network makes of one photograph: its answer, and a map for each layer."""

    network: Network
    pixels: Tensor
    scores: ClassScores
    layers: Sequence[FeatureMap]
    maps: Sequence[Tensor]


Compared = Sequence[tuple[str, Sequence[ClassMaps]]]
"""The name of each photograph, and what every network makes of it."""


def list_methods() -> list[str]:
    """Return the names of the methods that the installed grad-cam has for a CNN, sorted."""
    return sorted(_methods())


def ask(network: Network, x: Tensor, target: int | None = None) -> ClassScores:
    """Classify one picture (1, C, H, W); without a target, the maps are of the predicted class."""
    with torch.inference_mode():
        share = network.model(x).float().softmax(1)[0]
    if target is not None and not 0 <= target < len(share):
        raise InputError(
            f"class {target} is not one of {network.label}'s {len(share)}; "
            f"give 0 to {len(share) - 1}"
        )
    predicted = int(share.argmax())
    chosen = predicted if target is None else target
    return ClassScores(predicted, float(share[predicted]), chosen, float(share[chosen]))


def activation_map(
    network: Network, x: Tensor, layer: FeatureMap, target: int, method: str = "gradcam"
) -> Tensor:
    """Return where a network sees a class: (H, W) in 0 .. 1, at the size of the picture.

    Each map is scaled to its own range, so that two maps say where, never how much. Grad-CAM, for
    instance, is relu(sum_c w_c A_c) of the layer's map A with w_c the mean over its positions of
    the class score's gradient.

    Shape: x (1, C, H, W) -> (H, W), on the CPU.
    Source: arXiv 1610.02391, eq. 1-2, for Grad-CAM; the package's pages for the others.
        Ablation-CAM sets channels to zero as its paper does (doi 10.1109/WACV45572.2020.9093360,
        eq. 4); the package puts -1e7 where a map has negative values, which no later layer can
        digest.

    Args:
        network: The network.
        x: A picture as the network takes it.
        layer: Which of its maps.
        target: Which class.
        method: One of `list_methods()`.

    Raises:
        InputError: for an unknown method, one that cannot take this network, or a package that
            is not installed.
    """
    methods = _methods()
    if method not in methods:
        raise unknown("CAM method", method, methods)
    module = network.model.get_submodule(layer.path)
    with _undisturbed(network.model), _quiet():
        try:
            found = _run(methods[method], network.model, module, layer, x, target)
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{method} cannot take {network.label} at {layer.path} "
                f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); "
                "try gradcam or layercam"
            ) from error
    return torch.from_numpy(found[0]).float().nan_to_num()


def compare_maps(
    networks: Sequence[Network],
    images: Sequence[tuple[str, Image.Image]],
    *,
    method: str = "gradcam",
    layers: str = "1",
    class_name: str = "",
    on_progress: OnProgress | None = None,
) -> list[tuple[str, list[ClassMaps]]]:
    """Return, for every photograph, its name and what each network sees in it.

    Args:
        networks: The networks.
        images: Names and photographs.
        method: One of `list_methods()`.
        layers: How many maps, one a resolution up to the last, or layers with commas between.
        class_name: The class the maps are of, as `find_class` takes it; each network's own answer
            where empty.
        on_progress: Told what was done, and its share of the whole.

    Raises:
        InputError: for an unknown method, layer or class, or a network without maps or classes.
    """
    if method not in list_methods():
        raise unknown("CAM method", method, list_methods())
    for network in networks:
        check_task(network, "classify", "a class activation map")
    chosen = [choose_maps(n.model, n.example(), layers) for n in networks]
    targets = [find_class(network, class_name) for network in networks]
    found: list[tuple[str, list[ClassMaps]]] = []
    done, total = 0, len(images) * len(networks)
    for name, image in images:
        row: list[ClassMaps] = []
        for network, its_layers, target in zip(networks, chosen, targets, strict=True):
            pixels = network.images.pixels(image)
            x = network.normalise(pixels[None])
            scores = ask(network, x, target)
            maps = [activation_map(network, x, m, scores.target, method) for m in its_layers]
            row.append(ClassMaps(network, pixels.expand(3, -1, -1), scores, its_layers, maps))
            done += 1
            if on_progress is not None:
                on_progress(f"{network.label}: {name}", done / total)
        found.append((name, row))
    return found


def find_class(network: Network, name: str) -> int | None:
    """Return the number of a class: by its name, a word of its description, or its number.

    Of ImageNet's first class these are "n01440764", "tench" or "Tinca tinca", and "0". None for an
    empty name.

    Raises:
        InputError: for a name that the network's classes do not have (with the nearest), or that
            several have.
    """
    if not name:
        return None
    if name not in network.classes and name.removeprefix("-").isdigit():
        return int(name)
    if not network.classes:
        raise InputError(f"{network.label} has no class names; give the class by its number")
    found = classes_called(network.classes, name)
    if not found:
        raise unknown("class", name, set().union(*map(class_words, network.classes)))
    if len(found) > 1:
        several = " and ".join(map(str, found))
        raise InputError(f"{name!r} is the name of classes {several}; give one of the numbers")
    return found[0]


def numbers(found: Compared) -> list[dict[str, Any]]:
    """Return what each network answered as rows of a file."""
    return [
        {
            "picture": name,
            "model": label,
            "weights": maps.network.card.weights,
            "predicted": maps.network.class_name(maps.scores.predicted),
            "probability": maps.scores.probability,
            "map_of": maps.network.class_name(maps.scores.target),
            "map_of_probability": maps.scores.target_probability,
            "layers": " ".join(layer.path for layer in maps.layers),
        }
        for name, row in found
        for label, maps in zip(distinct([m.network.label for m in row]), row, strict=True)
    ]


def _methods() -> dict[str, type]:
    try:
        import pytorch_grad_cam as library
    except ImportError:
        raise missing("drawing class activation maps", "grad-cam", "cam") from None
    return {
        name.lower().replace("_", ""): found
        for name, found in vars(library).items()
        if name not in NOT_OF_A_LAYER
        and isinstance(found, type)
        and hasattr(found, "forward")
        and list(inspect.signature(found).parameters)[:2] == ["model", "target_layers"]
    }


def _run(
    method: type, model: nn.Module, module: nn.Module, layer: FeatureMap, x: Tensor, target: int
) -> Any:
    options: dict[str, Any] = {}
    if method.__name__ == "AblationCAM":
        options["ablation_layer"] = _zeroing_layer(layer)
    if layer.layout == "NHWC":
        options["reshape_transform"] = lambda maps: maps.permute(0, 3, 1, 2)
    cam = method(model, [module], **options)
    # Finer-CAM contrasts the class with its nearest ones, and is plain Grad-CAM when given a score.
    finer = method.__name__ == "FinerCAM"
    asked = {"target_idx": target} if finer else {"targets": [_score(target)]}
    try:
        with _kept_from_later_layers(module):
            return cam(x.clone().requires_grad_(), **asked)  # also through frozen networks
    finally:
        store = getattr(cam, "base_cam", cam).activations_and_grads
        store.activations, store.gradients = [], []  # which it cannot always let go of by itself


def _zeroing_layer(layer: FeatureMap) -> nn.Module:
    """Return the layer that Ablation-CAM puts in a map's place: a channel of each copy is zero."""
    from pytorch_grad_cam.ablation_layer import AblationLayer

    class Zeroing(AblationLayer):  # type: ignore[misc]
        def __call__(self, x: Tensor) -> Tensor:
            maps = self.activations
            channels = maps if layer.layout == "NCHW" else maps.permute(0, 3, 1, 2)
            rows = range(len(channels))
            channels[list(rows), self.indices[: len(channels)]] = 0
            return maps

    return Zeroing()


def _score(target: int) -> Any:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    return ClassifierOutputTarget(target)


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Let gradients flow, and leave neither gradients nor hooks on the network."""
    hooks = {module: dict(module._forward_hooks) for module in model.modules()}
    children = {module: dict(module._modules) for module in model.modules()}
    try:
        with torch.enable_grad():
            yield
    finally:
        model.zero_grad(set_to_none=True)
        for module, before in hooks.items():
            for key in [key for key in module._forward_hooks if key not in before]:
                del module._forward_hooks[key]
        for module, parts in children.items():
            module._modules.update(parts)


@contextlib.contextmanager
def _kept_from_later_layers(module: nn.Module) -> Iterator[None]:
    """Hand a copy of the map on, so that a later operation in place does not change it."""
    handle = module.register_forward_hook(lambda module, args, output: output.clone())
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow the package's own bars and remarks; errors still come through."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
