"""Build a network by name: ours, timm's, or torchvision's."""

import errno
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from fnmatch import fnmatch
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
import torchvision
from huggingface_hub import constants
from torch import nn

import convgate.models.cifar_forms
import convgate.models.csp_darknet
import convgate.models.hornet
import convgate.models.mobilenext
import convgate.models.packaged_weights
import convgate.models.resnet_cifar
import convgate.models.selnext
import convgate.models.shufflenet_cifar
import convgate.models.wide_resnet  # noqa: F401  all register their names in timm
from convgate.errors import InputError, unknown
from convgate.models.checkpoint import load_weights, read_weights

TORCHVISION = "torchvision/"
PICKLE = (
    "its weights are a pickle of more than tensors, which is not read; ask whoever made them for a "
    ".safetensors file"
)
IMAGENET = 1000  # classes
MOST_IN_A_HEAD = 4  # tensors: weight and bias of a classifier, and of one in the middle


def create_model(
    name: str, *, pretrained: bool = False, checkpoint_path: str | Path | None = None, **kwargs: Any
) -> nn.Module:
    """Build a classifier.

    Args:
        name: One of `list_models()`: ours or timm's by its name, also with a weights tag as in
            "resnet50.a1_in1k", torchvision's as in "torchvision/resnet50".
        pretrained: Fetch the library's default weights.
        checkpoint_path: Weights to load, as `load_weights` does.
        kwargs: The builder's own, such as `num_classes`.

    Raises:
        InputError: for an unknown name or option, weights that do not exist, or a checkpoint
            that does not fit.
    """
    library = _torchvision if name.startswith(TORCHVISION) else _timm
    model = _build(library, name, pretrained, kwargs)
    if checkpoint_path is not None:
        load_weights(model, checkpoint_path)
    return model


def classes_in(path: str | Path, name: str, options: Mapping[str, Any]) -> int | None:
    """Return the classes of a checkpoint's classifier; None where it differs in more than that.

    Args:
        path: The checkpoint.
        name: The network that it is of, as for `create_model`.
        options: What that was built with.
    """
    with torch.device("meta"):
        own = create_model(name, **{**options, "num_classes": IMAGENET}).state_dict()
    weights = read_weights(path)
    other = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    counts = {len(weights[k]) for k in other if own[k].shape[1:] == weights[k].shape[1:]}
    if len(other) > MOST_IN_A_HEAD or len(counts) > 1:
        return None
    return counts.pop() if counts else IMAGENET


def list_models(pattern: str = "", *, pretrained: bool = False) -> list[str]:
    """Return the names that contain ``pattern``, or match it where it has a ``*`` or ``?``.

    With ``pretrained`` they are those that have weights, once for each of their tags.

    Raises:
        InputError: if there is none (with the nearest name).
    """
    ours = timm.list_pretrained() if pretrained else timm.list_models()
    names = [*ours, *(TORCHVISION + name for name in _torchvision_names())]
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    found = [name for name in names if fnmatch(name, wanted)]
    if not found:
        raise unknown("model", pattern, names)
    return found


def library_of(name: str) -> str:
    """Return whose network ``name`` is: "convgate", "timm" or "torchvision"."""
    if name.startswith(TORCHVISION):
        return "torchvision"
    _check_known(name)
    return timm.model_entrypoint(name).__module__.partition(".")[0]


def _build(
    library: Callable[..., nn.Module], name: str, pretrained: bool, kwargs: dict[str, Any]
) -> nn.Module:
    try:
        return library(name, pretrained, **kwargs)
    except InputError:
        raise
    except Exception as error:  # builders do not check their options: anything can come
        sentence = _explain(error) or _blame(kwargs, error)
        if sentence is None:
            raise
        raise InputError(f"{name}: {sentence}") from error


def _explain(error: Exception) -> str | None:
    """Say what the caller can mend in a library's error, or nothing for any other error."""
    text = str(error)
    if is_pickle(error):
        return PICKLE
    if "unexpected keyword argument" in text:
        return f"unknown option {text.rpartition('argument ')[2]}"
    if "No pretrained weights exist" in text:
        return "no pretrained weights exist; do without pretrained (--pretrained)"
    if "Invalid pretrained tag" in text:
        return "unknown weights tag; see `convgate ls models --pretrained`"
    if "expected value 1000" in text:
        return "torchvision's weights have 1000 classes; leave num_classes at that"
    if isinstance(error, OSError) and error.errno != errno.ENOSPC:
        return (
            f"its weights could not be fetched ({text.partition(chr(10))[0]}); connect to their "
            "library's hub, or give --weights FILE or a tag of `convgate ls models pypi "
            "--pretrained`"
        )
    return None


def is_pickle(error: BaseException | None) -> bool:
    """Tell whether a loader refused a file's code; its text says how to run it all the same."""
    while error is not None and not isinstance(error, UnpicklingError):
        error = error.__cause__ or error.__context__
    return error is not None


def _blame(options: Mapping[str, Any], error: Exception) -> str | None:
    """Name the options of a network that could not be built with them; None where it has none."""
    own = {key: value for key, value in options.items() if key not in ("num_classes", "in_chans")}
    if not own or isinstance(error, OSError):
        return None
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    given = ", ".join(f"{key}={value!r}" for key, value in own.items())
    return f"cannot be built with {given} ({reason})"


def _timm(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    _check_known(name)
    with _offline() if pretrained else nullcontext():
        return timm.create_model(name, pretrained=pretrained, **kwargs)


@contextmanager
def _offline() -> Iterator[None]:
    """Take what is stored already where the hub has no address: no retries, which take a minute."""
    host = urlsplit(constants.ENDPOINT).hostname
    before = constants.HF_HUB_OFFLINE
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        constants.HF_HUB_OFFLINE = before or not getproxies()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _check_known(name: str) -> None:
    if not timm.is_model(name):
        raise unknown("model", name, list_models())


def _torchvision(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    bare = name.removeprefix(TORCHVISION)
    if bare not in _torchvision_names():
        raise unknown("model", name, list_models(TORCHVISION))
    weights = "DEFAULT" if pretrained else None
    return torchvision.models.get_model(bare, weights=weights, **kwargs)


def _torchvision_names() -> list[str]:
    """Return the classifiers alone; detectors and the like live in their own modules."""
    return torchvision.models.list_models(module=torchvision.models)
