"""The parameters of a notebook: read without running it, and refused in a sentence before and inside it."""

import jupytext
import pytest

import sftlab as sft
from sftlab.runs import notebooks
from sftlab.runs.parameters import (
    NotebookError,
    Parameter,
    check_parameters,
    check_value,
    checked,
    describe,
    read_parameters,
)


def notebook(tagged, check=""):
    return jupytext.reads(f'# %% tags=["parameters"]\n{tagged}\n# %%\n{check}', fmt="py:percent")


def test_parameters_are_read_without_running_the_notebook():
    tagged = (
        'A: int = 1  # images, "#" too\nB = "x#y"\nc = 2\nRATE: float = 1e-3\n'
        "D: str | None = None\nE: list[int] = [1]\nF = None\nG: int = call()\nH: int\n"
    )
    check = "sft.check_parameters(\n    globals(), A=(int, 1), B=open('x'), D=sft.backbones())\nraise SystemExit"
    read = read_parameters(notebook(tagged, check))
    assert list(read) == ["A", "B", "RATE", "D", "E", "F", "G"]
    assert read["A"] == Parameter("A", 1, (int, 1), 'images, "#" too')
    assert read["B"] == Parameter("B", "x#y", str), "a rule that needs a running notebook is left to it"
    assert read["RATE"].default == 0.001 and read["RATE"].rule is float
    assert read["D"].default is None and read["D"].rule == sft.backbones()
    assert read["E"].default == [1] and read["E"].rule is None and read["F"].rule is None and read["G"].default is None


def test_cells_that_are_not_python_are_named():
    with pytest.raises(NotebookError, match="parameters cell"):
        read_parameters(notebook("A: int = = 1"))


@pytest.mark.parametrize(
    "path", [p for p in notebooks.sources(notebooks.checkout()) if p.parent.name != "exercises"], ids=lambda p: p.stem
)
def test_every_notebook_states_rules_that_hold_for_its_defaults_and_can_be_read(path):
    book = notebooks.read(path)
    check = next(c.source for c in book.cells if c.cell_type == "code" and "check_parameters(" in c.source)
    parameters = read_parameters(book)
    for p in parameters.values():
        assert p.comment, f"{p.name} has no comment that says what it is"
        assert f"{p.name}=" in check, f"{p.name} is not checked"
        assert p.rule is not None
        check_value(p.name, p.default, p.rule)
    assert checked(parameters, {p.name: p.default for p in parameters.values() if p.name != "OUT"})


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        (int, "3", 3), (float, "3", 3.0), (float, "1e-3", 0.001), (float, 3, 3.0), (str, "3", "3"),
        (bool, "true", True), (bool, "False", False), (str | None, "None", None), (str | None, "x", "x"),
        (int | None, "none", None), (list, "[1, 2]", [1, 2]), (("a", "b"), "b", "b"), ((1, 2), "2", 2),
        (None, "[1]", [1]), (None, "x", "x"),
    ],
)  # fmt: skip
def test_text_becomes_the_type_of_the_parameter(rule, text, value):
    result = checked({"P": Parameter("P", None, rule)}, {"P": text})["P"]
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("rule", "value", "kind", "says"),
    [
        (int, "3", TypeError, "P must be int, not '3' (a str)"),
        (int, True, TypeError, "P must be int, not True (a bool)"),
        (bool, 1, TypeError, "must be bool"),
        (int, 2.0, TypeError, "must be int"),
        (str, None, TypeError, "must be str"),
        ((int, 1), 0, ValueError, "P must be int, at least 1, not 0"),
        ((float, 0, 1), float("nan"), ValueError, "finite"),
        ((float, 0, 1), 2, ValueError, "P must be float from 0 to 1, not 2"),
        ((1, 2), True, ValueError, "must be 1 or 2"),
        (("probe", "full"), "prob", ValueError, "P must be 'probe' or 'full', not 'prob'; did you mean 'probe'?"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(rule, value, kind, says):
    with pytest.raises(kind) as refused:
        check_value("P", value, rule)
    assert says in str(refused.value)
    with pytest.raises(kind):
        check_parameters({"P": value}, P=rule)


def test_a_rule_in_words():
    assert describe(None) == "anything" and describe((str | None, 1)) == "str | None, at least 1"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LABLES", "3", "LABLES is not a parameter of this notebook; did you mean 'LABELS'?"),
        ("labels", "3", "did you mean 'LABELS'?"),
        ("X", "3", "it has LABELS, OUT, DATA, BACKBONE"),
        ("LABELS", "many", "LABELS must be int from 1 to 1000, not 'many'"),
        ("LABELS", "2.5", "LABELS must be int from 1 to 1000, not 2.5"),
        ("OUT", "there", "--out"),
        ("DATA", "folder:nowhere", "DATA: there is no folder"),
        ("DATA", "solr", "DATA: nothing is named 'solr'; did you mean 'solar'?"),
        ("BACKBONE", "resnet5", "BACKBONE: nothing is named 'resnet5'; did you mean 'resnet50'?"),
        ("BACKBONE", "resnet10tt", "did you mean 'resnet10t'?"),
    ],
)
def test_what_a_notebook_cannot_be_given_is_refused(name, value, says):
    rules = {"LABELS": (int, 1, 1000), "OUT": str, "DATA": str, "BACKBONE": str}
    with pytest.raises(NotebookError) as refused:
        checked({name: Parameter(name, None, rule) for name, rule in rules.items()}, {name: value})
    assert says in str(refused.value)


def test_data_and_networks_that_exist_are_accepted_and_a_folder_is_as_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    known = {name: Parameter(name, None, str) for name in ("DATA", "BACKBONE")}
    for fine in ({"DATA": "csv:a.csv"}, {"BACKBONE": "resnet10t.c3_in1k"}, {"BACKBONE": "tiny", "DATA": "digits"}):
        assert checked(known, fine) == fine
    assert checked(known, {"DATA": "folder:photos"}) == {"DATA": f"folder:{tmp_path / 'photos'}"}


def test_the_check_cell_refuses_what_papermill_injected_under_a_wrong_name():
    cells = ["", "LABELS: int = 1", "# Parameters\nLABLES = 5\n", "check_parameters(…)"]
    with pytest.raises(NameError, match="did you mean 'LABELS'"):
        check_parameters({"LABELS": 1, "LABLES": 5, "In": cells}, LABELS=int)
    check_parameters({"LABELS": 1, "In": [*cells, "LABLES = 3", "check_parameters(…)"]}, LABELS=int)
    with pytest.raises(NameError, match="EPOCHS has no value"):
        check_parameters({}, EPOCHS=int)
