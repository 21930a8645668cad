"""Two runs side by side: settings that differ, metrics in pairs, images that only one has right; `sftlab compare`."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.analysis.decisions import calibration, difference, mcnemar
from sftlab.core import records
from sftlab.core.evaluation import auc, balanced_accuracy
from sftlab.core.records import Interval, Result
from sftlab.core.statistics import jackknife
from sftlab.data import as_path, datasets, load
from sftlab.data.dataset import NO_LABEL
from sftlab.plot.base import points
from sftlab.runs.parameters import NotebookError
from sftlab.runs.results import FACTS, RECORD, Facts, page

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
    settings = settings[[settings_a.get(name) != settings_b.get(name) for name in settings.index]]
    parameters = settings[settings.index.str.isupper()]
    names = [", ".join(f"{name} {value}" for name, value in parameters[run].items()) for run in settings]
    if not 0 < len(parameters) <= 3:
        names = [f"{folder(first).resolve().name} (first)", f"{folder(second).resolve().name} (second)"]

    b = _named_as(a, b)
    pairs = _pairs(a, b)
    y, classes = pairs.target_a.to_numpy(), np.array(a.classes)
    p = [np.array(a.probabilities)[pairs.row_a], np.array(b.probabilities)[pairs.row_b]]
    right = [probabilities.argmax(axis=1) == y for probabilities in p]
    groups = np.array(a.groups)[pairs.row_a] if a.groups else ()
    changes = differences(y, p[0], p[1], groups)
    metrics = [(f"{a.metrics[name]:.3f}", f"{b.metrics[name]:.3f}", f"{changes[name]:+.3f}") for name in changes]
    first_error, second_error = (f"{calibration(one, y)}".removeprefix("ECE ") for one in p)
    metrics.append((first_error, second_error, ""))
    images = pd.DataFrame({"image": pairs.image, "truth": classes[y], "right": np.where(right[0], 0, 1)})
    for i in (0, 1):
        images[f"answer{i}"] = [f"{classes[row.argmax()]} {100 * row.max():.0f} %" for row in p[i]]
    mistake = np.where(right[0], p[1].max(axis=1), p[0].max(axis=1))
    one_alone = np.flatnonzero(right[0] != right[1])
    return Comparison(
        names,
        settings.set_axis(names, axis=1),
        pd.DataFrame(metrics, [*changes, "ece"], [*names, "second minus first"]),
        pd.crosstab(*(pd.Series(r, name=f"{name} is right") for r, name in zip(right, names, strict=True))),
        _verdict(names, changes["accuracy"], None if len(groups) else mcnemar(*right), len(y)),
        images.iloc[one_alone[np.argsort(-mistake[one_alone], kind="stable")]],
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
    c = comparison
    shown = [c.images[c.images.right == i][:SHOWN] for i in (0, 1)]
    pictures, licence = _thumbnails(c.sources, [image for part in shown for image in part.image])
    settings = "<p>No setting differs." if c.settings.empty else c.settings.to_html(border=0)
    parts = [f"<p>{escape(c.verdict)}", settings, c.metrics.to_html(border=0), c.counts.to_html(border=0)]
    for i, name in enumerate(c.names):
        parts.append(f"<h2>Only {escape(name)} is right: {(c.images.right == i).sum()} images</h2>")
        parts += [_figure(one, c.names, pictures.get(one.image, "")) for one in shown[i].itertuples()]
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(" against ".join(c.names), *parts, f"<p>{escape(licence)}"), encoding="utf-8")
    return path


def beside(first: str | Path, second: str | Path) -> Path:
    """Return where the page goes if nobody says: the folder that holds both runs."""
    one, two = (folder(run).resolve() for run in (first, second))
    holds = next(parent for parent in two.parents if one.is_relative_to(parent))
    return holds / f"compare_{one.name[-40:]}_{two.name[-40:]}.html"


def _figure(one: Any, names: list[str], picture: str) -> str:
    """Return an image that one run alone has right, with what both say of it."""
    answers = enumerate((one.answer0, one.answer1))
    says = [f"{'✓' if one.right == i else '✗'} {names[i]}: {answer}" for i, answer in answers]
    image = f'<img src="{picture}" alt="{escape(one.truth)}" width={EDGE}>' if picture else ""
    return f"<figure>{image}<figcaption>{'<br>'.join(map(escape, [one.truth, *says]))}</figcaption></figure>"


def _thumbnails(sources: list[tuple[str, Any]], hashes: list[str]) -> tuple[dict[str, str], str]:
    """Return images as `data:` addresses by their hash, and a line with their licence, or that they are not at hand."""
    from PIL import Image

    for name, size in sources:
        try:
            data = load(name, size=size)
        except (OSError, ValueError):  # a folder that has moved, a set that is not on this machine
            continue
        rows = {image: row for row, image in enumerate(data.train.identities or data.train.image_hashes)}
        if not rows.keys() >= {*hashes}:
            continue
        pictures = {}
        split = data.train.of_rows([rows[image] for image in hashes])
        for image, pixels in zip(hashes, split.pixels(np.arange(len(hashes))).numpy(), strict=True):
            picture = Image.fromarray(pixels.transpose(1, 2, 0).squeeze())
            small = picture.width < EDGE // 2  # a digit of eight pixels stays one of eight pixels
            buffer = io.BytesIO()
            picture.resize((EDGE, EDGE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS).save(
                buffer, "png"
            )
            pictures[image] = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        return pictures, f"Pictures: {data.card.licence}"
    return {}, "The images are not shown: the data of these runs is not at hand here."


def _sources(result: Result, *settings: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the data sets that the settings name, and those that are always there, with the size of the images."""
    values = [value for one in settings for value in one.values() if isinstance(value, str)]
    named = [value for value in values if value.startswith("folder:") or value in datasets()]
    return [(name, result.settings.get("size")) for name in dict.fromkeys([*named, *OFFLINE])]


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
    about |= result.settings
    return result, {name: about[name] for name in about if name not in ("images", "size", "code")}


def _named_as(a: Result, b: Result) -> Result:
    """Return `b` with its classes in the order of `a`: they match by name. Raises NotebookError where they do not."""
    if {*a.classes} != {*b.classes}:
        raise NotebookError(f"their classes differ: {', '.join(a.classes)} and {', '.join(b.classes)}")
    to = [b.classes.index(name) for name in a.classes]
    targets = [to.index(target) if target >= 0 else target for target in b.targets]
    return replace(b, classes=a.classes, targets=targets, probabilities=np.array(b.probabilities)[:, to].tolist())


def _pairs(a: Result, b: Result) -> pandas.DataFrame:
    """Return the labelled test images of both, by their hash: image, target_a, row_a and row_b.

    Raises NotebookError for what is no pair.
    """
    import pandas as pd

    tables = [pd.DataFrame({"image": r.hashes, "target": r.targets, "row": range(len(r.hashes))}) for r in (a, b)]
    one, two = (
        table.assign(copy=table.groupby("image").cumcount()) for table in tables
    )  # a picture may be there twice
    pairs = one.merge(two, on=["image", "copy"], suffixes=("_a", "_b"))
    if not len(one) == len(two) == len(pairs):
        raise NotebookError(
            f"their test images differ ({len(one)} and {len(two)} images, {len(pairs)} in common), so image by image "
            "they cannot be compared; compare runs of the same data and the same SEED, which draws the split"
        )
    if other := (pairs.target_a != pairs.target_b).sum():
        raise NotebookError(
            f"{other} of their {len(pairs)} test images have another label in each; correct one of them"
        )
    return pairs[pairs.target_a != NO_LABEL]


def _verdict(names: list[str], change: Interval, p: float | None, n: int) -> str:
    """Say in a sentence whether one is better than the other, as far as these images can tell.

    p: of McNemar's test, None where the images come in groups: then the interval decides.
    """
    if p is None:
        told, test = 0 not in change, f"over {change.groups} groups"
    else:
        told, test = p < 0.05, "McNemar p < 0.001" if p < 0.001 else f"McNemar p = {p:.3f}"
    test = f"(second minus first {points(change):+.1f} points, {test}, {n} images)"
    if not change.value:
        return f"Both are right equally often {test}."
    better = f"{names[int(change.value > 0)]} is right more often, by {100 * abs(change.value):.1f} points"
    doubt = "more than chance explains" if told else "but these images cannot tell that from chance"
    return f"{better}, {doubt} {test}."
