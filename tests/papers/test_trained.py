"""Accuracies of runs in a table: averaged over seeds of one recipe, and never over two."""

import pytest

from convgate.errors import CorruptFile, InputError
from convgate.papers import run_table, with_results
from convgate.papers.runs import find_runs

SHORT = ("schedule.epochs=3", "schedule.milestones=[1, 2]", "data.train_count=1000")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cell(result, row, column):
    return next(r for r in result.rows if r.name == row).cell(column)


def test_mean_and_deviation_over_the_seeds(tmp_path, recipe_of, leave):
    for seed, top1 in enumerate((70.0, 72.0, 77.0)):
        recipe = recipe_of("ean.2", "resnet56+se", *SHORT, seed=seed)
        leave(tmp_path / f"any/name{seed}", recipe, top1)
    result = with_results(run_table("ean.2", "resnet56*"), [tmp_path / "any"])
    (found,) = cell(result, "resnet56+se", "top1").trained
    assert found.mean == pytest.approx(73.0)
    assert found.std == pytest.approx(13.0**0.5)  # (9 + 1 + 16) / 2
    assert (found.runs, found.seeds, found.same_recipe) == (3, (0, 1, 2), False)
    assert found.on == "cifar100, 1,000 images, 3 epochs"
    assert not cell(result, "resnet56", "top1").trained
    assert not cell(result, "resnet56+se", "params").trained


def test_other_recipes_stand_for_themselves_and_the_tables_own_comes_first(
    tmp_path, recipe_of, leave
):
    row = "resnet56+ean"
    leave(tmp_path / "a", recipe_of("ean.2", row, *SHORT), 60.0)
    leave(tmp_path / "b", recipe_of("ean.2", row, 'data.name="cifar10"'), 90.0)
    leave(tmp_path / "c", recipe_of("ean.2", row, "data.path='moved'", seed=5), 73.0)
    result = with_results(run_table("ean.2", row), [tmp_path])
    found = cell(result, row, "top1").trained
    assert found[0].mean == 73.0
    assert [f.same_recipe for f in found] == [True, False, False]
    assert found[0].on == "cifar100, 50,000 images, 200 epochs, the table's recipe"
    assert found[0].std is None


def test_a_column_that_names_a_data_set_takes_that_one(tmp_path, recipe_of, leave):
    row = "mobilenetv2+se"
    leave(tmp_path / "a", recipe_of("ean.1", row, 'data.name="cifar10"'), 84.0)
    result = with_results(run_table("ean.1", row), [tmp_path])
    (found,) = cell(result, row, "top1_cifar10").trained
    assert (found.mean, found.same_recipe) == (84.0, True)
    assert not cell(result, row, "top1_cifar100").trained


def test_top5_is_its_own_number(tmp_path, recipe_of, leave):
    leave(tmp_path / "a", recipe_of("ela.5", "resnet18", 'data.name="folder"'), 40.0)
    result = with_results(run_table("ela.5", "resnet18"), [tmp_path])
    assert cell(result, "resnet18", "top1").trained[0].mean == 40.0
    assert cell(result, "resnet18", "top5").trained[0].mean == 41.0


def test_the_folder_of_the_printed_command_is_looked_at_and_counts_once(tmp_path, recipe_of, leave):
    place = tmp_path / "runs/ean.2/resnet56"
    leave(place, recipe_of("ean.2", "resnet56"), 71.0)
    leave(tmp_path / "runs/ean.2/other", recipe_of("ean.1", "mobilenetv2"), 50.0)
    alone = with_results(run_table("ean.2", "resnet56"))
    assert cell(alone, "resnet56", "top1").trained[0].runs == 1
    again = with_results(run_table("ean.2", "resnet56"), [place])
    assert again == alone


def test_another_size_of_image_is_said(tmp_path, recipe_of, leave):
    leave(tmp_path / "a", recipe_of("selnext.9", "se", "data.image_px=64"), 40.0)
    result = with_results(run_table("selnext.9", "se"), [tmp_path])
    assert cell(result, "se", "top1").trained[0].on.startswith("imagenet, 64 px, ")


def test_unfinished_runs_and_other_files_are_passed_over(tmp_path, recipe_of, leave):
    leave(tmp_path / "a", recipe_of("ean.2", "resnet56"), 71.0)
    leave(tmp_path / "b", recipe_of("ean.2", "resnet56", seed=1), 72.0)
    (tmp_path / "a/result.json").unlink()
    (tmp_path / "c").mkdir()
    (tmp_path / "c/result.json").write_text("{}")  # nothing says what it would be
    assert [run.folder.name for run in find_runs(tmp_path)] == ["b"]


def test_folders_that_serve_no_row_are_refused(tmp_path, recipe_of, leave):
    shown = run_table("ean.2", "resnet56")
    with pytest.raises(InputError, match=r"--results .*nowhere: there is no such folder"):
        with_results(shown, [tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no finished run"):
        with_results(shown, [tmp_path / "empty"])
    for place, row in enumerate(("mobilenetv2", "mobilenetv2+se", "mobilenext", "mobilenext+ca")):
        leave(tmp_path / f"other/{place}", recipe_of("ean.1", row), 50.0)
    leave(tmp_path / "seln", recipe_of("selnext.7", "seln"), 50.0)
    with pytest.raises(InputError) as error:
        with_results(shown, [tmp_path / "other"])
    assert str(error.value).endswith(
        "holds torchvision/mobilenet_v2 on cifar100, torchvision/mobilenet_v2 + se at expanded on "
        "cifar100, mobilenext_cifar on cifar100 and 1 more, and ean.2 has no such row"
    )
    with pytest.raises(InputError, match=r"mobilenet_v3_large \+ seln in place of se on imagenet"):
        with_results(shown, [tmp_path / "seln"])


def test_runs_of_rows_that_are_not_shown_are_no_mistake(tmp_path, recipe_of, leave):
    leave(tmp_path / "a", recipe_of("ean.2", "resnet101"), 71.0)
    result = with_results(run_table("ean.2", "resnet56"), [tmp_path])
    assert not any(row.is_trained for row in result.rows)


PEDESTRIANS = ('data.name="pennfudan"', "data.image_px=400", "schedule.epochs=12")


def test_average_precision_of_detectors(tmp_path, recipe_of, leave_scenes):
    """The same layers at other sizes, on other data, frozen or not, are the row's."""
    row = "mask-rcnn+selnext-t"
    sizes = "detector.options={min_size=256, max_size=400, rois_per_image=64}"
    for seed, box in enumerate((60.0, 64.0)):
        recipe = recipe_of("selnext.5", row, *PEDESTRIANS, sizes, seed=seed)
        scores = {"box_ap": box, "box_ap50": 90.0, "mask_ap": 55.0, "mask_ap75": 50.0}
        leave_scenes(tmp_path / f"a/{seed}", recipe, **scores)
    thin = recipe_of("selnext.5", row, *PEDESTRIANS, "detector.options={pyramid_width=64}")
    leave_scenes(tmp_path / "a/thin", thin, box_ap=1.0)
    result = with_results(run_table("selnext.5", "mask-rcnn*"), [tmp_path / "a"])
    (found,) = cell(result, row, "ap_box").trained
    assert (found.mean, found.runs, found.std) == (62.0, 2, pytest.approx(8**0.5))
    assert found.on == "pennfudan, 400 px, 120 images, 12 epochs"
    columns = ("ap50_box", "ap_mask", "ap75_mask", "ap75_box", "fps")
    means = [[t.mean for t in cell(result, row, c).trained] for c in columns]
    assert means == [[90.0], [55.0], [50.0], [], []]
    assert not cell(result, "mask-rcnn+convnext-t", "ap_box").trained


def test_the_tables_own_recipe_of_detection_and_segmentation(tmp_path, recipe_of, leave_scenes):
    leave_scenes(tmp_path / "a", recipe_of("ela.8", "deeplabv3+ela-s"), miou=71.0)
    result = with_results(run_table("ela.8", "deeplabv3+*a*"), [tmp_path / "a"])
    (found,) = cell(result, "deeplabv3+ela-s", "miou").trained
    assert (found.mean, found.same_recipe) == (71.0, True)
    assert found.on == "voc2012_aug, 120 images, 40 epochs, the table's recipe"
    leave_scenes(tmp_path / "b", recipe_of("ela.7", "yolox-nano"), box_ap=40.0, voc_ap=72.0)
    result = with_results(run_table("ela.7", "yolox-nano"), [tmp_path / "b"])
    assert cell(result, "yolox-nano", "map").trained[0].mean == 72.0
    with pytest.raises(
        InputError, match=r"holds yolox with csp_darknet_nano on voc2007, and ela\.8"
    ):
        with_results(run_table("ela.8", "deeplabv3"), [tmp_path / "b"])


def test_a_damaged_result_is_named(tmp_path, recipe_of, leave):
    place = leave(tmp_path / "a", recipe_of("ean.2", "resnet56"), 71.0)
    (place / "result.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"a/result\.json: not the result of a run"):
        with_results(run_table("ean.2", "resnet56"), [tmp_path])
