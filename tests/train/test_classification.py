import pytest
import torch
from torch import nn

from convgate.train.classification import Classification


class Fixed(nn.Module):
    """Returns the logits that it was given as images."""

    def forward(self, x):
        return x.flatten(1)


LOGITS = torch.tensor(
    [[9.0, 1, 2, 3, 4, 5, 6], [1, 9, 8, 7, 6, 5, 0], [0, 1, 2, 3, 4, 5, 6], [5, 4, 3, 2, 1, 0, 9]]
)
TARGET = torch.tensor([0, 6, 2, 5])  # first, last of seven, fifth, sixth


def expected_loss(logits, probabilities):
    logits, probabilities = logits.double(), probabilities.double()
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    return -(probabilities * log_p).sum(1).mean()


def test_scores_count_ranks_over_batches_of_unequal_size():
    task = Classification(Fixed(), 7)
    images = LOGITS[:, :, None, None]
    task.on_validation_epoch_start()
    task.validation_step((images[:3], TARGET[:3]), 0)
    task.validation_step((images[3:], TARGET[3:]), 1)
    scores = task.scores()
    assert scores["top1"] == 25.0
    assert scores["top5"] == 50.0
    one_hot = torch.eye(7)[TARGET]
    assert scores["val_loss"] == pytest.approx(expected_loss(LOGITS, one_hot).item(), rel=1e-6)


def test_a_new_validation_forgets_the_last_one():
    task = Classification(Fixed(), 7)
    task.validation_step((LOGITS[:1, :, None, None], TARGET[:1]), 0)
    task.on_validation_epoch_start()
    task.validation_step((LOGITS[1:2, :, None, None], TARGET[1:2]), 0)
    assert task.scores()["top1"] == 0


def test_soft_targets_enter_the_loss_as_probabilities():
    soft = torch.softmax(torch.arange(28.0).view(4, 7).sin(), 1)
    loss = Classification(Fixed(), 7).training_step((LOGITS[:, :, None, None], soft), 0)
    torch.testing.assert_close(loss, expected_loss(LOGITS, soft).float())


def test_fewer_than_five_classes_are_scored_too():
    task = Classification(Fixed(), 2)
    task.validation_step((torch.tensor([[0.0, 1.0]])[:, :, None, None], torch.tensor([0])), 0)
    assert task.scores()["top5"] == 100


def test_channels_last_reaches_the_network():
    seen = []

    class Look(nn.Conv2d):
        def forward(self, x):
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return super().forward(x)

    task = Classification(Look(3, 2, 1), 2, channels_last=True)
    task(torch.randn(2, 3, 4, 4))
    assert seen == [True]
    assert task.model.weight.is_contiguous(memory_format=torch.channels_last)
