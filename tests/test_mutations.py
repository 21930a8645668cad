"""The table of guards stays true: each is where it is said to be, its test exists, and every pitfall has a row."""

import re

import pytest

from tools import mutations


@pytest.mark.parametrize("row", mutations.mutants(), ids=lambda row: row["test"].partition("::")[2])
def test_each_guard_is_there_once_and_has_a_test(row):
    assert mutations.mutated(row) != (mutations.ROOT / row["file"]).read_text(encoding="utf-8")
    file, _, name = row["test"].partition("::")
    source = (mutations.ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
    assert f"\ndef test_{name.partition('[')[0]}(" in source


def test_a_guard_that_is_not_there_once_is_named():
    row = mutations.mutants()[0]
    for old in ("no such line", "import"):
        with pytest.raises(ValueError, match=rf"^{re.escape(row['kind'])}: .* times, not once"):
            mutations.mutated({**row, "old": old})


def test_every_pitfall_and_every_case_has_a_row_and_the_tables_are_those_of_the_rows():
    pitfalls, cases, *_ = ([row["kind"].split()[0] for row in rows] for rows in mutations.TABLES.values())
    assert list(dict.fromkeys(pitfalls)) == [str(number) for number in range(1, 33)]
    assert len(set(cases)) == 25
    assert mutations.written() in mutations.README.read_text(encoding="utf-8")
