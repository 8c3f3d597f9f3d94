"""Networks that end with pooling, dropout and one linear layer, as all those for CIFAR do."""

from timm.layers.classifier import create_classifier
from torch import Tensor, nn

from convgate.models.staged import Staged


class Pooled(Staged):
    """A `Staged` network with the head: mean over the map, dropout, linear.

    A subclass fills `feature_info` and calls `make_head` last.

    Shape: x (N, C, H, W) -> logits (N, num_classes).
    Source: the model interface of timm, https://huggingface.co/docs/timm/feature_extraction.
    """

    def make_head(self, num_classes: int, global_pool: str, drop_rate: float) -> None:
        """Build the head for the width of the last stage."""
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


def init_he(module: nn.Module) -> None:
    """He initialisation of a convolution or classifier, by the width of its input."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight)
