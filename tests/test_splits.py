"""Images of one kind to learn from, of the others to ask about."""

import numpy as np
import pytest

import sftlab as sft


@pytest.fixture(scope="module")
def cells():
    """Two tasks on 120 small images: defect, and one of three kinds."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(256, size=(120, 1, 8, 8)).astype(np.uint8), np.arange(120) % 2
    data = sft.from_arrays(x, y)
    kind = np.arange(120) // 2 % 3
    targets = {"defect": data.train.targets, "type": data.train.targets.new_tensor(kind)}
    return sft.data.with_targets(data, targets, {"defect": ["intact", "defect"], "type": ["mono", "poly", "thin"]})


def test_the_source_is_of_one_kind_and_the_target_of_the_others(cells):
    source, target, held_out = sft.data.domain_split(cells, "defect", by="type", source="poly", n=15, seed=1)
    kind = cells.train.targets["type"].numpy()
    assert set(kind[source.train.index]) == set(kind[source.valid.index]) == {1}
    assert set(kind[target.index]) == {0, 2} and not set(kind[held_out.index]) & {1}
    assert len(source.train) == 15 and len(target) == 15
    assert source.classes == ["intact", "defect"] and source.train.y.ndim == 1


def test_no_image_is_in_two_places_and_none_of_the_test_is_in_any(cells):
    source, target, held_out = sft.data.domain_split(cells, "defect", by="type", source="mono", n=15)
    rows = np.concatenate([source.train.index, source.valid.index, target.index, held_out.index])
    assert len(set(rows)) == len(rows) and not set(rows) & set(cells.test.index)
    assert set(source.test.index) == set(cells.test.index)
    again = sft.data.domain_split(cells, "defect", by="type", source="mono", n=15).target.index
    other = sft.data.domain_split(cells, "defect", by="type", source="mono", n=15, seed=5).target.index
    assert (again == target.index).all() and set(other) != set(target.index)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"task": "colour", "by": "type"}, "two of defect, type"),
        ({"task": "type", "by": "type"}, "two of defect, type"),
        ({"source": "plastic"}, "one of mono, poly, thin"),
        ({"n": 99}, "some must be left to measure"),
    ],
)
def test_what_cannot_be_parted_is_refused_by_a_sentence(cells, how, says):
    asked = {"task": "defect", "by": "type", "source": "mono", "n": 15} | how
    with pytest.raises(ValueError, match=says):
        sft.data.domain_split(cells, **asked)


def test_data_of_one_task_has_no_domains(blobs):
    with pytest.raises(ValueError, match="one task only"):
        sft.data.domain_split(blobs, "defect", by="type", source="mono", n=5)


def test_the_same_images_are_split_anew_by_groups_and_in_the_same_shares():
    x = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    for groups in (None, np.arange(200) // 5):
        data = sft.from_arrays(x, np.arange(200) % 2, groups=groups)
        new, other = sft.data.resplit(data, 1), sft.data.resplit(data, 2)
        parts = (new.train, new.valid, new.test)
        assert sorted(np.concatenate([part.index for part in parts]).tolist()) == list(range(200))
        assert [len(part) for part in parts] == pytest.approx(
            [len(p) for p in (data.train, data.valid, data.test)], abs=6
        )
        assert new.test.digest != other.test.digest and sft.data.resplit(data, 1).test.digest == new.test.digest
        if groups is not None:
            assert not {*new.train.groups} & {*new.test.groups} and "grouped" in new.card.split
        assert sum(new.card.counts["test"].values()) == len(new.test)
