"""A result is a record: plain data that saves as JSON and loads back."""

import json
import math

import pytest

from sftlab.core import records
from sftlab.core.records import Epoch, History, Interval, Step


def test_a_history_round_trips_with_numbers_that_json_does_not_have(tmp_path):
    history = History(
        [Step(1, 1, math.inf, 3, {"head": 0.1})],
        [Epoch(1, 1, math.inf, math.nan, 0.5, 1.0)],
        [{"a": None}],
        ["diverged"],
        None,
    )
    file = records.write(history, tmp_path / "deep" / "h.json")
    back = records.read(file, History)
    assert back.steps == history.steps and math.isnan(back.epochs[0].valid_loss) and back.stopped == ["diverged"]
    json.loads(file.read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


def test_lists_and_dicts_of_records_round_trip(tmp_path):
    both = {"one": Interval(0.5, 0.4, 0.6), "many": [Interval(0.1, 0, 1, "bootstrap")]}
    assert records.read(records.write(both, tmp_path / "x.json")) == both


def test_a_file_that_holds_something_else_is_refused_by_a_sentence(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("no json")
    with pytest.raises(ValueError, match="is not a record"):
        records.read(file)
    records.write(Interval(0.5, 0.4, 0.6), file)
    with pytest.raises(ValueError, match="holds a Interval, not a History"):
        records.read(file, History)
    file.write_text('{"record": "Interval", "value": 1, "colour": "red"}')
    with pytest.raises(ValueError, match="another version"):
        records.read(file)
    file.write_text('{"record": "Spell"}')
    with pytest.raises(ValueError, match="'Spell' is unknown"):
        records.read(file)


def test_writing_is_whole_or_not_at_all(tmp_path):
    file = records.write({"a": 1}, tmp_path / "x.json")
    with pytest.raises(TypeError):
        records.write({"a": object()}, file)
    assert records.read(file) == {"a": 1}


def test_the_kept_epoch_is_the_best_one_so_far_or_the_last_if_none_is_kept():
    losses = (0.7, math.nan, 0.4, 0.4, 0.9)
    epochs = [Epoch(i, i, 0.5, loss, i / 10, 1.0) for i, loss in enumerate(losses)]
    best, last = History(runs=[{"majority": 0.6}]), History(runs=[{"keep_best": False}])
    for epoch in epochs:
        best.add(epoch)
        last.add(epoch)
    assert (best.best, best.kept, best.majority) == (2, epochs[2], 0.6)
    assert (last.best, last.kept, last.majority) == (None, epochs[4], None)


def test_an_interval_prints_as_a_value_with_its_range():
    assert str(Interval(0.85, 0.8, 0.9)) == "0.850 (0.800–0.900)"
    assert f"{Interval(0.85, 0.8, 0.9):.1%}" == "85.0% (80.0%–90.0%)"
    assert f"{Interval(-12.8, -15.4, -10.1):.1f}" == "−12.8 (−15.4 to −10.1)"
    assert f"{Interval(0.01, -0.02, 0.04):+.2f}" == "+0.01 (−0.02 to +0.04)"
    assert f"{Interval(0.85, 0.8, 0.9, groups=11):.2f}" == "0.85 (0.80–0.90) (11 groups)"
    assert f"{Interval(1, 0, 1, why='3 of the 5 groups that it needs'):.2f}" == (
        "1.00 (no interval: 3 of the 5 groups that it needs)"
    )
    assert 0.82 in Interval(0.85, 0.8, 0.9) and 0.95 not in Interval(0.85, 0.8, 0.9)


def test_a_record_that_the_project_keeps_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert records.stored("start")["typefaces"] and "runs" in records.stored("evidence/lpft")
    with pytest.raises(ValueError, match="'strat'; there are coverage, evidence/averaging"):
        records.stored("strat")
