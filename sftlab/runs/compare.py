"""Two runs side by side: settings that differ, metrics in pairs, images that only one has right; `sftlab compare`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.analysis.decisions import calibration, difference, mcnemar
from sftlab.core import records
from sftlab.core.evaluation import auc, balanced_accuracy
from sftlab.core.records import Interval, Result
from sftlab.core.statistics import jackknife
from sftlab.data import as_path, datasets, load
from sftlab.plot import style
from sftlab.plot.base import points
from sftlab.runs import results
from sftlab.runs.parameters import NotebookError
from sftlab.runs.results import FACTS, RECORD, Facts, named

if TYPE_CHECKING:
    import pandas

SHOWN = 24  # images a run
EDGE = 120  # of a thumbnail, in pixels
OFFLINE = ("digits", "solar")  # what comes with the installation, for notebooks that name no DATA


@dataclass(frozen=True)
class Comparison:
    """What two runs have and do not have in common.

    settings: those that differ. metrics: of each run, and the second minus the first with its interval. counts: test
    images by which of the runs is right. verdict: a sentence. images: those that one run alone has right, the surest
    mistakes of the other first: image (its hash), truth, right (0 or 1), and what both answer (answer0, answer1).
    sources: data sets, and the size, in which the images may be found.
    """

    names: list[str]
    settings: pandas.DataFrame
    metrics: pandas.DataFrame
    counts: pandas.DataFrame
    verdict: str
    images: pandas.DataFrame
    sources: list[tuple[str, Any]]

    def __str__(self) -> str:
        settings = "no setting differs" if self.settings.empty else self.settings.to_string()
        return "\n\n".join([settings, self.metrics.to_string(), self.counts.to_string(), self.verdict])


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two runs, each given as its folder or as the record in it.

    Raises NotebookError if one has no readable record, or the two were not judged by the same labelled images.
    """
    import pandas as pd

    (a, settings_a), (b, settings_b) = _read(first), _read(second)
    settings = pd.DataFrame({"first": settings_a, "second": settings_b}, dtype=object).fillna("")
    settings = settings[settings["first"] != settings["second"]]
    parameters = settings[settings.index.str.isupper()]
    names = [named(parameters[run]) for run in settings]
    if not 0 < len(parameters) <= 3:
        names = [f"{folder(first).resolve().name} (first)", f"{folder(second).resolve().name} (second)"]

    p, truth = _pairs(a, b)
    y = np.array([a.classes.index(name) for name in truth])
    groups = np.array(a.groups)[np.array(a.targets) >= 0] if a.groups else ()
    changes = differences(y, p[0].to_numpy(), p[1].to_numpy(), groups)
    metrics = {name: [f"{r.metrics[name]:.3f}" for r in (a, b)] + [f"{changes[name]:+.3f}"] for name in changes}
    metrics["ece"] = [str(calibration(one, y)).removeprefix("ECE ") for one in p] + [""]
    called, sure = [one.idxmax(axis=1) for one in p], [one.max(axis=1) for one in p]
    right = [(answer == truth).rename(f"{name} is right") for answer, name in zip(called, names, strict=True)]
    says = [answer + (100 * share).map(" {:.0f} %".format) for answer, share in zip(called, sure, strict=True)]
    images = pd.DataFrame({"truth": truth, "right": 1 - right[0], "answer0": says[0], "answer1": says[1]})
    mistake = sure[1].where(right[0], sure[0])[right[0] != right[1]]
    return Comparison(
        names,
        settings.set_axis(names, axis=1),
        pd.DataFrame.from_dict(metrics, "index", columns=[*names, "second minus first"]),
        pd.crosstab(*right),
        _verdict(names, changes["accuracy"], None if len(groups) else mcnemar(*right), len(y)),
        images.loc[mistake.sort_values(ascending=False, kind="stable").index].reset_index("image"),
        _sources(a, settings_a, settings_b),
    )


def differences(y: np.ndarray, first: np.ndarray, second: np.ndarray, groups: Any = ()) -> dict[str, Interval]:
    """Return each metric of `second` minus that of `first`, with intervals that keep the pairs together.

    y: n class numbers; first, second: n × classes; groups: n, if they are known. The area under the ROC curve needs an
    image of every class.
    """
    p, called = (first, second), [first.argmax(axis=1), second.argmax(axis=1)]
    unit = np.unique(groups, return_inverse=True)[1] if len(groups) else np.arange(len(y))
    word = "groups" if len(groups) else "images"
    fewest = min(len(np.unique(unit[y == k])) for k in np.unique(y))
    both = {"balanced_accuracy": [balanced_accuracy(y, one, unit) for one in called]}
    if len(np.unique(y)) == first.shape[1]:
        both["roc_auc"] = [auc(y, one, unit) for one in p]
    found = {"accuracy": difference(called[1] == y, called[0] == y, groups)}
    for name, ((a, without_a), (b, without_b)) in both.items():
        found[name] = jackknife(b - a, without_b - without_a, (-1, 1), word, fewest, np.bincount(unit))
    return found


def write_page(comparison: Comparison, path: str | Path) -> Path:
    """Write a comparison as one HTML file and return its path; images are shown where their data is at hand."""
    only = {name: comparison.images[comparison.images.right == i] for i, name in enumerate(comparison.names)}
    hashes = [image for images in only.values() for image in images.image[:SHOWN]]
    pictures, licence = _thumbnails(comparison.sources, hashes)
    facts = {"comparison": comparison, "only": only, "most": SHOWN, "pictures": pictures, "licence": licence}
    path = as_path(path)
    results.write_page(path, "compare.html.j2", title=" against ".join(comparison.names), **facts)
    return path


def beside(first: str | Path, second: str | Path) -> Path:
    """Return where the page goes if nobody says: beside the second run."""
    one, two = (folder(run).resolve() for run in (first, second))
    return two.with_name(f"compare_{one.name[-40:]}_{two.name[-40:]}.html")


def _thumbnails(sources: list[tuple[str, Any]], hashes: list[str]) -> tuple[dict[str, str], str]:
    """Return images, as addresses, by their hash, and a line with their licence, or that they are not at hand."""
    from PIL import Image

    for name, size in sources:
        try:
            data = load(name, size=size)
        except (OSError, ValueError):  # a folder that has moved, a set that is not on this machine
            continue
        rows = {image: row for row, image in enumerate(data.train.identities or data.train.image_hashes)}
        if not rows.keys() >= {*hashes}:
            continue
        pictures: dict[str, str] = {}
        split = data.train.of_rows([rows[image] for image in hashes])
        for image, pixels in zip(hashes, split.pixels(np.arange(len(hashes))).numpy(), strict=True):
            picture, content = Image.fromarray(pixels.transpose(1, 2, 0).squeeze()), io.BytesIO()
            picture.thumbnail((EDGE, EDGE))
            picture.save(content, "png")
            pictures[image] = style.address("image/png", content.getvalue())
        return pictures, f"Pictures: {data.card.licence}"
    return {}, "The images are not shown: the data of these runs is not at hand here."


def _sources(result: Result, *settings: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the data sets that the settings name, and those that are always there, with the size of the images."""
    values = [str(value) for one in settings for value in one.values()]
    names = [value for value in values if value.startswith("folder:") or value in datasets()]
    return [(name, result.settings.get("size")) for name in dict.fromkeys([*names, *OFFLINE])]


def folder(run: str | Path) -> Path:
    """Return the folder of a run that is given by it or by its record."""
    path = as_path(run)
    return path.parent if path.name == RECORD else path


def _read(run: str | Path) -> tuple[Result, dict[str, Any]]:
    """Return a run's Result and its settings: everything that it was told, but which images it saw."""
    about: dict[str, Any] = {}
    try:
        result = records.read(folder(run) / RECORD, Result)
        if (folder(run) / FACTS).is_file():
            facts = Facts.read(folder(run))
            about = {"notebook": facts.notebook, **facts.parameters, **facts.versions}
    except FileNotFoundError:
        raise NotebookError(f"{run} holds no {RECORD}: give the folder of a run that left one") from None
    except ValueError as error:
        raise NotebookError(f"{run} cannot be compared: {error}") from None
    settings = {name: value for name, value in result.settings.items() if name not in ("images", "size")}
    return result, about | settings


def _pairs(a: Result, b: Result) -> tuple[list[pandas.DataFrame], pandas.Series]:
    """Return the probabilities of both for the same labelled images and classes, and the name of each image's class.

    Raises NotebookError for what is no pair.
    """
    import pandas as pd

    if {*a.classes} != {*b.classes}:
        raise NotebookError(f"their classes differ: {', '.join(a.classes)} and {', '.join(b.classes)}")
    tables = []
    for result in (a, b):
        image = pd.Series(result.hashes, name="image")
        table = pd.DataFrame(result.probabilities, [image, image.groupby(image).cumcount()], result.classes)
        truth = pd.Series([result.classes[t] if t >= 0 else "" for t in result.targets], table.index)
        tables.append((table, truth))
    (p_a, truth), (p_b, other) = tables
    shared = p_a.index.intersection(p_b.index)
    if not len(p_a) == len(p_b) == len(shared):
        raise NotebookError(
            f"their test images differ ({len(p_a)} and {len(p_b)} images, {len(shared)} in common), so image by image "
            "they cannot be compared; compare runs of the same data and the same SEED, which draws the split"
        )
    if changed := (truth != other[truth.index]).sum():
        raise NotebookError(
            f"{changed} of their {len(truth)} test images have another label in each; correct one of them"
        )
    labelled = truth.index[truth != ""]
    return [p_a.loc[labelled], p_b.loc[labelled, a.classes]], truth[labelled]


def _verdict(names: list[str], change: Interval, p: float | None, n: int) -> str:
    """Say in a sentence whether one is better than the other, as far as these images can tell.

    p: of McNemar's test, None where the images come in groups: then the interval decides.
    """
    if p is None:
        told, test = 0 not in change, ""
    else:
        told, test = p < 0.05, ", McNemar p < 0.001" if p < 0.001 else f", McNemar p = {p:.3f}"
    test = f"(second minus first, in points: {points(change):+.1f}{test}, {n} images)"
    if not change.value:
        return f"Both are right equally often {test}."
    better = f"{names[int(change.value > 0)]} is right more often, by {100 * abs(change.value):.1f} points"
    doubt = "more than chance explains" if told else "but these images cannot tell that from chance"
    return f"{better}, {doubt} {test}."
