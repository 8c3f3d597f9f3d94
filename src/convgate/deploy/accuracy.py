"""Pictures that the quantiser takes its ranges from."""

from pathlib import Path

from torch import Tensor

from convgate.errors import InputError
from convgate.networks.labelled import in_training, load_inputs, pictures_of
from convgate.networks.preprocessing import Preprocessing
from convgate.pictures.archives import open_tree

LEAST_CALIBRATION = 32
MOST_CALIBRATION = 300  # the quantiser's own number


def calibration_images(path: Path, images: Preprocessing) -> Tensor:
    """Read pictures for the quantiser, spread evenly over the folder where there are many.

    Where some lie under a folder called train, the others are left alone: they may be meant to
    judge the result.

    Shape: (N, C, H, W).

    Raises:
        InputError: if there are fewer than `LEAST_CALIBRATION`.
        CorruptFile: for a damaged picture.
    """
    tree = open_tree(path)
    every = pictures_of(tree)
    files = [name for name in every if in_training(name)] or every
    if len(files) < LEAST_CALIBRATION:
        raise InputError(
            f"--calibrate {path}: holds {len(files)} pictures, too few to take ranges from; give "
            f"at least {LEAST_CALIBRATION}"
        )
    count = min(len(files), MOST_CALIBRATION)
    return load_inputs(tree, [files[i * len(files) // count] for i in range(count)], images)
