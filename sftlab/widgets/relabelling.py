"""A second look at labels: images in doubt, and a CSV of what a person has corrected."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from sftlab.analysis.labels import find_label_issues, undecided
from sftlab.data import Data, resize
from sftlab.data.corrections import Correction, Key, address, read_corrections, write_corrections
from sftlab.plot import style
from sftlab.plot.answers import sureness
from sftlab.plot.images import images, size_of_grid
from sftlab.widgets.labelling import data_uri
from sftlab.widgets.panel import Panel
from sftlab.widgets.tiles import Tiles

LARGEST = 320  # edge of a tile's image in pixels; larger ones would only load the page
LEFT_OUT = "leave it out"


class Relabelling(Panel):
    """Training images in doubt, each with the choice of another label: `corrections` is what the CSV holds."""

    def __init__(
        self, data: Data, p: np.ndarray, groups: Mapping[str, np.ndarray], path: Path, noun: str, name: str
    ) -> None:
        assert isinstance(data.classes, list)
        self.split, self.classes, self.licence = data.train, data.classes, data.card.licence
        self.p, self.path, self.noun = p, path, noun
        self.groups = {title: positions for title, positions in groups.items() if len(positions)}
        rows = read_corrections(path)
        y = self.split.targets[torch.from_numpy(self.split.index)]  # type: ignore[index]
        shown = np.unique(np.concatenate(list(self.groups.values()))).tolist() if self.groups else []
        self._keys = {i: address(self.split, i) for i in shown}
        self._given = {i: rows[k].old if k in rows else self.classes[int(y[i])] for i, k in self._keys.items()}
        chosen = {str(i): self._number(rows[k].new) for i, k in self._keys.items() if k in rows}
        tiles = [{"title": title, "tiles": [self._tile(int(i)) for i in found]} for title, found in self.groups.items()]
        self.view = Tiles(
            name=name, title=f"{noun}s whose labels are in doubt", groups=tiles, options=[*self.classes, LEFT_OUT],
            chosen=chosen, spoken={"said": self.text(), "error": False},
        )  # fmt: skip
        self.view.observe(self._chosen, "chosen")

    @property
    def corrections(self) -> dict[Key, Correction]:
        """What the CSV holds now; rows about other images included."""
        return read_corrections(self.path)

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Say how many labels are in doubt, and how many are corrected."""
        found = ", ".join(f"{len(positions)} {title}" for title, positions in self.groups.items())
        n = len(self.corrections)
        told = f"{n} correction{'s' * (n > 1)} in {self.path.name}" if n else "nothing corrected"
        return f"{found or f'no {self.noun} is in doubt'}; {told}."

    def html(self) -> str:
        """Return the first group as a figure, with what was corrected."""
        if not self.groups:
            return f"<p>{html.escape(self.text())}</p>"
        title, positions = next(iter(self.groups.items()))
        captions = [f"is {self._given[i]}\n{self._says(i)}?" for i in positions.tolist()]
        figure = Figure(figsize=size_of_grid(len(captions), None, 2, self.licence), layout="constrained")
        finding = f"{len(captions)} {self.noun}s {title}: the label, and what networks say that have not seen it"
        images(self.split, positions, captions, title=finding, licence=self.licence, ax=figure.add_subplot())
        return f"{style.figure_html(figure)}<p>{html.escape(self.text())}</p>"

    def _says(self, i: int) -> str:
        k = int(self.p[i].argmax())
        return f"{self.classes[k]} {sureness(float(self.p[i, k]))}"

    def _tile(self, i: int) -> dict[str, Any]:
        image = torch.from_numpy(np.array(self.split.images[self.split.index[i]]))[None]
        image = image if max(image.shape[2:]) <= LARGEST else resize(image, LARGEST)
        file = self._keys[i][1]
        said = f"the network says {self._says(i)}" + (f" ({file})" if file else "")
        given = self._given[i]
        alt, source = f"{file or f'{self.noun} {i} of {self.split.name}'}, labelled {given}", data_uri(image[0].numpy())
        return {"key": str(i), "src": source, "alt": alt, "said": said, "given": self._number(given)}

    def _number(self, label: str) -> int:
        return self.classes.index(label) if label in self.classes else len(self.classes)

    def _chosen(self, change: Any) -> None:
        """Write the CSV anew; rows about images that are not shown here stay as they are."""
        try:
            rows, now = self.corrections, datetime.now().astimezone().isoformat(timespec="seconds")
            for position, number in change["new"].items():
                key, old = self._keys[int(position)], self._given[int(position)]
                new = self.classes[number] if number < len(self.classes) else ""
                if new == old:
                    rows.pop(key, None)
                elif key not in rows or rows[key].new != new:
                    rows[key] = Correction(*key, old, new, now)
            write_corrections(rows, self.path)
        except (OSError, ValueError) as error:
            self.view.spoken = {"said": f"The correction is not kept: {error}", "error": True}
            return
        self.view.spoken = {"said": f"{self.text()} Run the notebook again from the top to use it.", "error": False}
        self.settle()


def relabel(
    data: Data, p: Any, path: str | Path = "corrections.csv", *, each: int = 12, noun: str = "image",
    name: str = "relabel",
) -> Relabelling:  # fmt: skip
    """Show the training images whose labels are most likely wrong, and the least certain ones, to be corrected.

    p: out-of-sample probabilities, a row a training image (`labels.cross_val_proba`). path: the CSV; every choice
    is written at once, a choice taken back is removed, and the images themselves are never touched. `sft.corrected`
    reads it. each: tiles a group. noun: what one image shows. name: part of the CSS classes `sft-NAME-select`,
    `-group-0` and `-status`. Raises ValueError for data without single class numbers, or probabilities that do not fit.
    """
    targets = data.train.targets
    if not isinstance(data.classes, list) or isinstance(targets, dict) or targets.ndim != 1:
        raise ValueError("these data have soft labels or several tasks; one label an image can be corrected here")
    p = np.asarray(p, dtype=float)
    if p.shape != (len(data.train), len(data.classes)):
        raise ValueError(
            f"probabilities of shape {'×'.join(map(str, p.shape))}; expected {len(data.train)}×{len(data.classes)}, a "
            "row for each training image: labels.cross_val_proba(model, data)"
        )
    doubted = find_label_issues(p, data.train.y)[:each]
    torn = np.array([i for i in undecided(p) if i not in set(doubted.tolist())][:each], dtype=np.int64)
    groups = {"most likely mislabelled": doubted, "least certain": torn}
    panel = Relabelling(data, p, groups, Path(path), noun, name)
    panel.show()
    return panel
