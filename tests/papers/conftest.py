"""Finished runs as `convgate train` leaves them, without the training."""

from dataclasses import replace

import pytest

from convgate import spec
from convgate.papers.recipes import row_recipe
from convgate.papers.table import load_table
from convgate.train.recipe import override
from convgate.train.record import EpochRecord, RunResult, write_result


@pytest.fixture
def leave():
    """Write what a run of a recipe would leave, with this accuracy; return the folder."""
    return leave_run


def leave_run(folder, recipe, top1, classes=("a", "b")):
    epoch = EpochRecord(
        epoch=1, train_loss=1.0, scores={"top1": 0.0}, lr=0.1, images_per_s=1, seconds=1
    )
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(spec.dump(recipe))
    result = RunResult(
        scores={"top1": top1, "top5": top1 + 1, "val_loss": 1.0},
        epochs=(epoch,) * recipe.schedule.epochs,
        params=1,
        classes=classes,
        train_images=recipe.data.train_count or 50_000,
        val_images=10,
        skipped=0,
        seconds=1.0,
        out=folder,
    )
    write_result(result)
    return folder


@pytest.fixture
def leave_scenes():
    """Write what a run of detection or segmentation would leave, with these scores."""

    def leave(folder, recipe, **scores):
        epoch = EpochRecord(
            epoch=1, train_loss=1.0, scores=scores, lr=0.1, images_per_s=1, seconds=1
        )
        folder.mkdir(parents=True)
        (folder / "recipe.toml").write_text(spec.dump(recipe))
        result = RunResult(
            scores=scores,
            epochs=(epoch,) * recipe.schedule.epochs,
            params=1,
            classes=("person",),
            train_images=120,
            val_images=50,
            skipped=0,
            seconds=1.0,
            out=folder,
        )
        write_result(result)
        return folder

    return leave


@pytest.fixture
def recipe_of():
    """The recipe of a row's command, with single keys changed and a seed."""

    def build(name, row, *settings, seed=0):
        table = load_table(name)
        recipe = override(row_recipe(table, table.find(row)), *settings)
        return replace(recipe, run=replace(recipe.run, seed=seed))

    return build
