"""The records of the selection lesson are whole."""

from pathlib import Path

import numpy as np
import pytest

from sftlab.core import records

RECORD = Path(__file__).parents[1] / "benchmarks" / "selection.json"


def test_the_stored_records_are_complete_and_agree_with_themselves():
    record = records.read(RECORD)
    assert len(record["blocks"]) == record["images"]
    assert len({(s["network"], s["weights"], s["size"], s["stage"]) for s in record["starts"]}) == len(record["starts"])
    for s in record["starts"]:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(s["right"]), dtype=np.uint8), count=record["images"])
        assert bits.mean() == pytest.approx(s["accuracy"].value)
