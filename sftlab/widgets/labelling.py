"""A learner as the labeller: images against the clock, with the network's interval; and a second look at labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets

from sftlab.analysis.labels import find_label_issues, undecided
from sftlab.core.records import Interval
from sftlab.core.statistics import wilson
from sftlab.data import Data, Split, as_path, first_task, resize
from sftlab.data.dataset import first_names
from sftlab.data.label_fixes import Correction, address, corrections_path, read_corrections, write_corrections
from sftlab.deploy.predict import sureness
from sftlab.plot import base, style
from sftlab.plot.images import images
from sftlab.widgets.base import (
    Element,
    Panel,
    figure_of,
    image_address,
    paragraph,
    remembered,
    script,
)

LARGEST = 320  # edge of a tile's image in pixels; larger ones would only load the page
LEFT_OUT = "leave it out"


class Game(Element):
    """One image at a time, a button a class, a clock; it plays in the browser, busy kernel or not.

    fixed: `name`, `noun`, `classes`, `limit` (seconds), `images` (their addresses). ended: when the last game did, in
    ms of the page's clock, 0 before the first: on two pages two games may be the first.
    """

    _esm = script("game")
    answers = traitlets.List(traitlets.Int()).tag(sync=True)
    elapsed = traitlets.Float(0).tag(sync=True)
    ended = traitlets.Int(0).tag(sync=True)
    score = traitlets.Unicode("").tag(sync=True)


class Labelling(Panel):
    """Let the learner label images against the clock: `answers` (class numbers), `accuracy`.

    positions: which images of the split. seconds: the limit. noun: what one image shows. name: part of the CSS classes
    `sft-NAME-start`, `-class-0`, `-status`, `-image`, … Nothing waits for a player: an unattended run shows the images
    and goes on, with `answers` empty.
    """

    def __init__(
        self,
        split: Split,
        positions: Sequence[int],
        *,
        seconds: float = 60,
        noun: str = "cell",
        licence: str = "",
        name: str = "cells",
    ) -> None:
        if not len(positions):
            raise ValueError("no position given, so there is nothing to label")
        self.classes = first_names(split.classes)
        self.split, self.positions = split, np.asarray(positions, dtype=np.int64)
        self.limit, self.licence, self.noun = seconds, licence, noun
        self.truth = first_task(split.labels(self.positions)).tolist()
        self._key = ("label", name, split.digest, tuple(positions))
        answers, elapsed = remembered.get(self._key, ([], 0.0))
        stored = np.array(split.images[split.index[self.positions]])  # as they are: a crack needs every pixel
        self.view = Game(
            fixed={
                "name": name,
                "noun": noun,
                "classes": self.classes,
                "limit": seconds,
                "images": [*map(image_address, torch.from_numpy(stored))],
            },
            answers=answers,
            elapsed=elapsed,
            ended=int(bool(answers)),
        )
        self._say()
        self.view.observe(self._finished, "ended")
        self.show()

    @property
    def answers(self) -> list[int]:
        """The class numbers given, in order; empty until a game has ended, fewer if time ran out."""
        return list(self.view.answers)

    @property
    def accuracy(self) -> Interval | None:
        """Right answers / answers given, with its Wilson interval; None if nothing was played."""
        right = sum(answer == truth for answer, truth in zip(self.answers, self.truth, strict=False))
        return wilson(right, len(self.answers)) if self.answers else None

    def text(self) -> str:
        """Return the score in one sentence, or how to play."""
        total, score, given = f"{len(self.positions)} {self.noun}s", self.accuracy, len(self.answers)
        if score is None:
            return f"not played: {total} to label, {self.limit:g} seconds"
        reached = total if given == len(self.positions) else f"the {given} {self.noun}s you reached"
        return (
            f"{score.value * given:.0f} of {reached} right in {self.view.elapsed:.0f} s: accuracy "
            f"{base.percent(score.value, 0)}, 95 % interval {100 * score.low:.0f} to {100 * score.high:.0f} %"
        )

    def html(self) -> str:
        """Return the grid of the images: numbered before the game, with answer and truth after it."""
        if self.answers:
            return str(self.view.score)
        numbers = [str(i + 1) for i in range(len(self.truth))]
        title = f"{len(self.truth)} {self.noun}s: {' or '.join(self.classes)}?"
        grid = _grid(self.split, self.positions, numbers, title, self.licence)
        truth = ", ".join(f"{i} {self.classes[k]}" for i, k in zip(numbers, self.truth, strict=True))
        return f"{grid}<details><summary>The answers</summary>{paragraph(truth)}</details>"

    def _finished(self, _: Any) -> None:
        remembered[self._key] = self.answers, self.view.elapsed
        self._say()
        self.settle()

    def _say(self) -> None:
        if not self.answers:
            keys = " ".join(f"{k + 1} = {c}" for k, c in enumerate(self.classes[:9]))
            how = f"{len(self.positions)} {self.noun}s, {self.limit:g} seconds. Buttons, or keys: {keys}."
            self.view.spoken = {"said": how}
            return
        captions = []
        for answer, truth in zip_longest(self.answers, self.truth):
            called = "–" if answer is None else f"✗ {self.classes[answer]}"
            captions.append(f"✓ {self.classes[truth]}" if answer == truth else f"{called}\nis {self.classes[truth]}")
        self.view.spoken = {"said": f"{self.text()}."}
        # When it ended makes each score a new string, so that two equal games are both shown.
        self.view.score = (
            f"<!--{self.view.ended}-->{_grid(self.split, self.positions, captions, self.text(), self.licence)}"
        )


def _grid(split: Split, positions: Any, captions: list[str], title: str, licence: str) -> str:
    return style.figure_html(figure_of(lambda: images(split, positions, captions, title=title, licence=licence)))


label_cells = Labelling


class Tiles(Element):
    """Groups of tiles, one group shown at a time; `chosen` maps a tile's key to the number of its label.

    fixed: `name`, `title`, `groups` ([{title, tiles: [{key, src, alt, said, given}]}], given being the label it came
    with), `options` (names of the labels, and last what leaves an image out). Any change is sent at once.
    """

    _esm = script("tiles")
    chosen = traitlets.Dict().tag(sync=True)


class Relabelling(Panel):
    """Show the training images whose labels are most likely wrong, and the least certain ones, to be corrected.

    p: out-of-sample probabilities, a row a training image (`labels.cross_val_proba`). path: the CSV, by default
    `corrections_path(data)`; every choice is written at once, a choice taken back is removed, and the images themselves
    are never touched. `sft.corrected` reads it. each: tiles a group. name: part of the CSS classes `sft-NAME-select`,
    `-group-0` and `-status`. Raises ValueError for data without single class numbers, or probabilities that do not fit.
    """

    def __init__(
        self,
        data: Data,
        p: Any,
        path: str | Path | None = None,
        *,
        each: int = 12,
        name: str = "relabel",
    ) -> None:
        targets = data.train.targets
        if not isinstance(data.classes, list) or isinstance(targets, dict) or targets.ndim != 1:
            raise ValueError("these data have soft labels or several tasks; one label an image can be corrected here")
        p = np.asarray(p, dtype=float)
        if p.shape != (len(data.train), len(data.classes)):
            raise ValueError(
                f"probabilities of shape {'×'.join(map(str, p.shape))}; expected {len(data.train)}×{len(data.classes)},"
                " a row for each training image: labels.cross_val_proba(model, data)"
            )
        doubted = find_label_issues(p, data.train.y)[:each].tolist()
        torn = [i for i in undecided(p).tolist() if i not in doubted][:each]
        groups = {"most likely mislabelled": doubted, "least certain": torn}
        self.groups = {title: positions for title, positions in groups.items() if positions}  # at least one
        self.p, self.path = p, corrections_path(data) if path is None else as_path(path)
        self.split, self.classes, self.licence = data.train, data.classes, data.card.licence
        rows, y = read_corrections(self.path), np.asarray(self.split.y)
        self._keys = {i: address(self.split, i) for positions in self.groups.values() for i in positions}
        self._given = {i: rows[k].old if k in rows else self.classes[y[i]] for i, k in self._keys.items()}
        self.view = Tiles(
            fixed={
                "name": name,
                "title": "images whose labels are in doubt",
                "options": [*self.classes, LEFT_OUT],
                "groups": [{"title": t, "tiles": [*map(self._tile, tiles)]} for t, tiles in self.groups.items()],
            },
            chosen={str(i): self._number(rows[k].new) for i, k in self._keys.items() if k in rows},
            spoken={"said": self.text()},
        )
        self.view.observe(self._chosen, "chosen")
        self.show()

    def text(self) -> str:
        """Say how many labels are in doubt, and how many are corrected."""
        doubted = ", ".join(f"{len(positions)} {title}" for title, positions in self.groups.items())
        n = len(read_corrections(self.path))
        corrected = f"{n} correction{'s' * (n > 1)} in {self.path.name}" if n else "nothing corrected"
        return f"{doubted}; {corrected}."

    def html(self) -> str:
        """Return the first group as a figure, with what was corrected."""
        title, positions = next(iter(self.groups.items()))
        captions = [f"is {self._given[i]}\n{self._says(i)}?\n{Path(self._keys[i][1]).name}".rstrip() for i in positions]
        finding = f"{len(captions)} images {title}: the label, and what networks say that have not seen it"
        return _grid(self.split, positions, captions, finding, self.licence) + paragraph(self.text())

    def _says(self, i: int) -> str:
        k = int(self.p[i].argmax())
        return f"{self.classes[k]} {sureness(float(self.p[i, k]))}"

    def _tile(self, i: int) -> dict[str, Any]:
        image = torch.from_numpy(np.array(self.split.images[self.split.index[i]]))[None]
        image = image if max(image.shape[2:]) <= LARGEST else resize(image, LARGEST)
        file, given = self._keys[i][1], self._given[i]
        said = f"the network says {self._says(i)}" + f" ({file})" * bool(file)
        alt = f"{file or f'image {i} of {self.split.name}'}, labelled {given}"
        return {"key": str(i), "src": image_address(image[0]), "alt": alt, "said": said, "given": self._number(given)}

    def _number(self, label: str) -> int:
        return [*self.classes, label].index(label)

    def _chosen(self, change: Any) -> None:
        """Write the CSV anew; rows about images that are not shown here stay as they are."""
        self.view.chosen = change["old"] | change["new"]  # the page has not heard of another page's choice
        try:
            rows, now = read_corrections(self.path), datetime.now().astimezone().isoformat(timespec="seconds")
            for position, number in change["new"].items():
                key, old = self._keys[int(position)], self._given[int(position)]
                new = [*self.classes, ""][number]
                if new == old:
                    rows.pop(key, None)
                elif key not in rows or rows[key].new != new:
                    rows[key] = Correction(*key, old, new, now)
            write_corrections(rows, self.path)
        except (OSError, ValueError) as error:
            self.view.spoken = {"said": f"The correction is not kept: {error}", "error": True}
            return
        self.view.spoken = {"said": f"{self.text()} Run the notebook again from the top to use it."}
        self.settle()


relabel = Relabelling
