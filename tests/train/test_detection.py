import pytest
import torch

from convgate.train.detection import Segmentation, iou_scores


def test_mean_iou_over_the_classes_that_occur():
    """Classes 0, 1 and 2 of four; class 3 neither is there nor is seen."""
    true = torch.tensor([0, 0, 0, 1, 1, 2])
    seen = torch.tensor([0, 0, 1, 1, 2, 2])
    confusion = torch.zeros(4, 4, dtype=torch.long)
    for a, b in zip(true, seen, strict=True):
        confusion[a, b] += 1
    scores = iou_scores(confusion)
    assert scores["miou"] == pytest.approx(100 * (2 / 3 + 1 / 3 + 1 / 2) / 3, abs=1e-3)
    assert scores["pixel_accuracy"] == pytest.approx(100 * 4 / 6, abs=1e-3)


def test_pixels_that_do_not_count_and_batches_of_none():
    class Constant(torch.nn.Module):
        def forward(self, x):
            logits = torch.zeros(len(x), 2, *x.shape[2:])
            logits[:, 1] = 1.0
            return logits

    task = Segmentation(Constant(), 2)
    task.on_validation_epoch_start()
    classes = torch.tensor([[[1, 1, 0, 255]]])
    task.validation_step((torch.zeros(1, 3, 1, 4), classes), 0)
    task.validation_step((torch.zeros(0, 3, 1, 1), torch.zeros(0, 1, 1).long()), 1)
    scores = task.scores()
    assert scores["pixel_accuracy"] == pytest.approx(200 / 3, abs=1e-3)
    assert scores["miou"] == pytest.approx(100 * (2 / 3 + 0) / 2, abs=1e-3)
