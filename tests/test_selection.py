"""The work of a network is counted as others count it; the records of the selection lesson are whole."""

from pathlib import Path

import numpy as np
import pytest
from torchvision.models import get_model_weights

from sftlab import analysis as explain
from sftlab.core import records

RECORD = Path(__file__).parents[1] / "benchmarks" / "selection.json"


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "mobilenet_v3_small"])
def test_macs_are_those_that_torchvision_publishes(name):
    published = get_model_weights(name).IMAGENET1K_V1.meta["_ops"] * 1e9
    assert explain.macs(name, 224) == pytest.approx(published, rel=0.02)
    assert explain.macs("tiny", 64) == pytest.approx(4 * explain.macs("tiny", 32), rel=0.01)


def test_the_stored_records_are_complete_and_agree_with_themselves():
    record = records.read(RECORD)
    assert len(record["blocks"]) == record["images"]
    assert len({(s["network"], s["weights"], s["size"], s["stage"]) for s in record["starts"]}) == len(record["starts"])
    for s in record["starts"]:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(s["right"]), dtype=np.uint8), count=record["images"])
        assert bits.mean() == pytest.approx(s["accuracy"].value)
