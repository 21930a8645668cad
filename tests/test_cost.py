"""What a cut costs is known before it is paid."""

import pytest

import sftlab as sft
from sftlab.core import features as kept
from sftlab.core.features import features, keep_memory
from sftlab.data import storage


def test_the_megabytes_of_a_cut_are_those_of_the_store(blobs, tiny):
    cuts = sft.feature_cost(tiny, blobs)
    assert [cut.stage for cut in cuts.rows] == [n for n, _ in tiny.named_children()][1:-1]
    assert cuts.images == len(blobs.train) + len(blobs.valid)
    for n, cut in enumerate(cuts.rows, 2):
        made = [features(tiny[:n], split) for split in (blobs.train, blobs.valid)]
        assert cut.megabytes == pytest.approx(sum(f.bytes for f in made) / 1e6)


def test_a_deeper_cut_never_costs_less_time(blobs, tiny):
    seconds = [cut.seconds for cut in sft.feature_cost(tiny, blobs).rows]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_pricing_leaves_the_model_and_the_store_alone(blobs, tiny):
    before, held, modes = sft.fingerprint(tiny), storage.features_info().entries, [m.training for m in tiny.modules()]
    sft.feature_cost(tiny, blobs)
    after = sft.fingerprint(tiny), storage.features_info().entries, [m.training for m in tiny.modules()]
    assert after == (before, held, modes)


def test_features_without_room_are_computed_in_every_epoch(blobs, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    kept = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(kept, blobs, sft.linear_probe(kept), 2, verbose=False)
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path / "small"))
    monkeypatch.setenv("SFTLAB_CACHE_GB", "0.000001")
    full = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(full, blobs, sft.linear_probe(full), 2)
    assert "runs in every epoch" in capsys.readouterr().out
    assert sft.fingerprint(full) == sft.fingerprint(kept)
    assert not list((tmp_path / "small").rglob("*.bin"))


def test_the_size_is_said_before_a_long_encoding(blobs, tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    now = iter(range(0, 10**6, 100))
    monkeypatch.setattr("sftlab.core.features.time.perf_counter", lambda: float(next(now)))
    sft.fit(tiny, blobs, sft.linear_probe(tiny), 1)
    assert "MB …" in capsys.readouterr().out


def test_freed_memory_is_kept_only_as_long_as_somebody_needs_it():
    with keep_memory(), keep_memory():
        assert kept._users == 2
    assert kept._users == 0
