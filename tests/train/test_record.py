import pytest

from convgate.errors import CorruptFile
from convgate.train.record import EpochRecord, RunResult, read_result, write_metrics, write_result

SCORES = {"top1": 91.25, "top5": 99.5, "val_loss": 1 / 3}


def epoch(number):
    return EpochRecord(
        epoch=number, train_loss=0.1 + number, scores=SCORES, lr=1e-3,
        images_per_s=1234.5, seconds=0.25,
    )  # fmt: skip


def test_a_result_reads_back_equal_and_is_absent_before(tmp_path):
    assert read_result(tmp_path) is None
    result = RunResult(
        scores=SCORES, epochs=(epoch(1), epoch(2)), params=7,
        classes=("ä", "b"), train_images=3, val_images=2, skipped=1, seconds=0.5, out=tmp_path,
    )  # fmt: skip
    write_result(result)
    assert read_result(tmp_path) == result


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"epochs": [{"epoch": 1}], "classes": []}'])
def test_another_programs_result_is_named(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(CorruptFile, match=r"result\.json: not the result of a run"):
        read_result(tmp_path)


def test_metrics_are_one_row_an_epoch(tmp_path):
    write_metrics(tmp_path, [epoch(1), epoch(2)], {})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,train_loss,top1,top5,val_loss,lr,images_per_s,seconds",
        "1,1.1,91.25,99.5,0.3333333333333333,0.001,1234.5,0.25",
        "2,2.1,91.25,99.5,0.3333333333333333,0.001,1234.5,0.25",
    ]


def test_a_result_prints_as_a_table(tmp_path):
    result = RunResult(
        scores=SCORES, epochs=(epoch(1), epoch(2)), params=7, classes=("a", "b"),
        train_images=3, val_images=2000, skipped=1, seconds=61.5, out=tmp_path,
    )  # fmt: skip
    lines = str(result).splitlines()
    assert [line.split() for line in lines[:1] + lines[2:5]] == [
        ["score", "value"], ["top-1", "91.25", "%"], ["top-5", "99.50", "%"],
        ["val", "loss", "0.3333"],
    ]  # fmt: skip
    assert lines[5] == "on 2,000 images  epochs 2  62 s; left out as faulty: 1"
    assert result.line.startswith("top-1 91.25 %  top-5 99.50 %  val loss 0.3333  on 2,000 images")
    assert "<td" in result._repr_html_() and repr(result) == str(result)
