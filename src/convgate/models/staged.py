"""What timm asks of a network made of a stem, stages and a head, written once."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from timm.layers.classifier import create_classifier
from timm.models import checkpoint_seq
from torch import Tensor, nn

from convgate.errors import InputError


class Blocks(nn.Sequential):
    """Blocks in a row; with `grad_checkpointing` each recomputes its inside on the way back."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        if (
            not torch.jit.is_scripting()  # type: ignore[attr-defined]
            and self.grad_checkpointing
            and torch.is_grad_enabled()
        ):
            return checkpoint_seq(self, x, use_reentrant=False)
        for block in self:
            x = block(x)
        return x


class Staged(nn.Module):
    """A backbone whose `feature_info` names its stages in order.

    A subclass fills `feature_info`, writes `forward_stem`, `forward_head` and `reset_classifier`,
    and `forward_features` where its stages are not in `stages`, and says with ``STEM`` and
    ``STAGE``, patterns of names, what is before the first stage and in each.

    All networks take `in_chans`, the channels of the image; `num_classes`, the classifier's width,
    0 for none; `global_pool`, "avg", "max", "avgmax", in those for CIFAR "catavgmax", or "" for
    none; `drop_rate`, dropout before the classifier; where blocks are skipped in training,
    `drop_path_rate`, that of the last block, which grows linearly from 0 at the first.

    Shape: x (N, C, H, W) -> logits (N, num_classes).
    Source: the model interface of timm, https://huggingface.co/docs/timm/feature_extraction.
    """

    STEM: ClassVar = r"^stem"
    STAGE: ClassVar = r"^stages\.(\d+)"
    feature_info: list[dict[str, Any]]
    num_features: int

    def forward_stem(self, x: Tensor) -> Tensor:
        """Map an image to the input of the first stage."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map the last features to logits, or to what the classifier sees."""
        raise NotImplementedError

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier (0 classes: none) and, where named, the pooling."""
        raise NotImplementedError

    def stage_modules(self) -> list[nn.Module]:
        return [self.get_submodule(info["module"]) for info in self.feature_info]

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last stage's features."""
        return self.stages(self.forward_stem(x))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the chosen stages' outputs, after the last features unless told otherwise.

        Args:
            x: Images (N, C, H, W).
            indices: Stages to return; an int takes the last so many, None takes all.
            norm: No effect: these networks normalise in the head alone.
            stop_early: Do not run the stages after the last one chosen.
            output_fmt: "NCHW".
            intermediates_only: Leave the last features out.
        """
        if output_fmt != "NCHW":
            raise InputError(f"{type(self).__name__}: output_fmt={output_fmt!r} must be 'NCHW'")
        chosen = self._chosen(indices)
        x = self.forward_stem(x)
        taken = []
        stages = self.stage_modules()
        for index, stage in enumerate(stages[: max(chosen) + 1] if stop_early else stages):
            x = stage(x)
            if index in chosen:
                taken.append(x)
        return taken if intermediates_only else (x, taken)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the stages after the last chosen one, and the head; return the chosen stages."""
        chosen = self._chosen(indices)
        last = max(chosen)
        dropped = self.feature_info[last + 1 :]
        for info in dropped:
            self.set_submodule(info["module"], nn.Identity())
        if prune_head or dropped:
            self.drop_head()
        self.num_features = self.feature_info[last]["num_chs"]
        return chosen

    def _chosen(self, indices: int | Sequence[int] | None) -> list[int]:
        every = list(range(len(self.feature_info)))
        if indices is None:
            return every
        wanted = every[-indices:] if isinstance(indices, int) else list(indices)
        outside = [index for index in wanted if not -len(every) <= index < len(every)]
        if outside or not wanted:
            raise InputError(
                f"{type(self).__name__}: stages {outside or indices} do not exist; "
                f"choose from 0 to {len(every) - 1}"
            )
        return [every[index] for index in wanted]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns of layer groups, from stem to head."""
        return {"stem": self.STEM, "blocks": self.STAGE if coarse else rf"{self.STAGE}\.(\d+)"}

    def drop_head(self) -> None:
        """Remove pooling and classifier, so that `forward` gives the feature maps."""
        self.reset_classifier(0, "")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep the blocks' inputs alone for the backward pass."""
        for module in self.modules():
            if isinstance(module, Blocks):
                module.grad_checkpointing = enable


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Return a rate for every block, growing linearly from 0 at the first to ``rate``."""
    steps = max(sum(depths) - 1, 1)
    rates = iter([rate * step / steps for step in range(sum(depths))])
    return [[next(rates) for _ in range(depth)] for depth in depths]


class Pooled(Staged):
    """A `Staged` network with the head: mean over the map, dropout, linear.

    A subclass fills `feature_info` and calls `make_head` last.

    Shape: x (N, C, H, W) -> logits (N, num_classes).
    Source: the model interface of timm, https://huggingface.co/docs/timm/feature_extraction.
    """

    def make_head(self, num_classes: int, global_pool: str, drop_rate: float) -> None:
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = self.feature_info[-1]["num_chs"]
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool
        )
        self.drop = nn.Dropout(drop_rate)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        pool_type = self.global_pool.pool_type if global_pool is None else global_pool
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=pool_type
        )
        self.fc.to(next(self.parameters()))
        self.global_pool.train(self.training)
        self.fc.train(self.training)


def init_he(module: nn.Module) -> None:
    """He initialisation of a convolution or classifier, by the width of its input."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight)
