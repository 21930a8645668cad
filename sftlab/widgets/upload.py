"""Upload a photograph: the answer, how sure it is, where the network looked, or "neither"."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets
from torch import nn

from sftlab.analysis.explain import grad_cam
from sftlab.data import Split, read_photo
from sftlab.deploy.predict import Prediction, predictor, sureness
from sftlab.deploy.reject import RejectOption
from sftlab.plot import base, style
from sftlab.widgets.base import Element, Panel, Worker, figure_of, picture, remembered, script

KEPT = 30  # photographs in the table
MOST_BARS = 6
SIZE = (7.8, 2.9)  # inches
SQUARE = (0, 1, 0, 1)
BARE: dict[str, Any] = {"xticks": [], "yticks": [], "frame_on": False}
TILE, STRIDE = 0.31, 0.33  # width of a picture and of its place, as shares of the figure: about as wide as high


class DropZone(Element):
    """A labelled file field that takes dropped files too, a status line, a picture, and a table of what was answered.

    Messages to the kernel: {kind: "piece", id, name, pieces} with one buffer each, in order, and {kind: "show", row}.
    drawn: the picture (`src`, `alt`, `width`). rows: [name, answer, probabilities, whether it can be shown again] a
    photograph, the newest first.
    """

    _esm = script("dropzone")
    drawn = traitlets.Dict().tag(sync=True)
    rows = traitlets.List(traitlets.List()).tag(sync=True)


# A photograph as the network got it (uint8 3×S×S; None if it could not be read) and what the network said.
Photograph = tuple[np.ndarray | None, Prediction]


class Upload(Panel):
    """Let the learner drop photographs; show the answer, its probability and its heat map, or "neither".

    reject: the limits beyond which the answer is "neither" (`choose_reject_option`). size: edge in pixels, by default
    that of `example`, else the card's. example: a split whose first image is shown until a photograph comes, and in
    unattended runs; licence: of its images. name: part of the CSS classes `sft-NAME-input`, `-status`, `-picture` and
    `-rows`. Photographs go to the kernel only; the figure of the last one is saved with the notebook. `answers` holds
    the predictions, the newest first. The network is a copy, so it can be trained on; running the cell again asks the
    new one about the same photographs.
    Raises ValueError for a model whose card names no single list of classes.
    """

    def __init__(
        self,
        model: nn.Sequential,
        *,
        reject: RejectOption | None = None,
        size: int | None = None,
        example: Split | None = None,
        licence: str = "",
        name: str = "upload",
    ) -> None:
        self.model, self.reject = copy.deepcopy(model).eval(), reject
        if size is None and example is not None:
            size = example.size
        self.predictor = predictor(self.model, size=size, reject=reject)
        self._key = ("upload", name, tuple(self.predictor.classes), self.predictor.size)
        kept = remembered.get(self._key, [])
        self._photographs = [self._ask(said.file, pixels) for pixels, said in kept if pixels is not None]
        self._pieces = defaultdict[str, list[bytes]](list)
        self.worker = Worker(self._failed, waiting=None)
        fixed = {"name": name, "title": "Photographs for the network"}
        self.view = DropZone(fixed=fixed, spoken={"said": "No photograph yet."})
        if self._photographs:
            self._show(self._photographs[0])
        elif example is not None:
            pixels = example.pixels(np.arange(1)).expand(-1, 3, -1, -1)[0].numpy()
            self._show(self._ask(f"an image of the {example.name} split", pixels), licence)
        self.view.on_msg(self._received)
        self.show()

    @property
    def answers(self) -> list[Prediction]:
        """What was answered, the newest first; a file that could not be read has its `error`."""
        return [prediction for _, prediction in self._photographs]

    def text(self) -> str:
        """Return what the figure shows, in a line."""
        return self.view.drawn.get("alt") or "No photograph yet."

    def _received(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        """Collect the pieces of a photograph; the whole one is answered in a thread, one after the other."""
        if content["kind"] == "show":
            self.worker.ask(partial(self._show, self._photographs[content["row"]]))
            return
        pieces = self._pieces[content["id"]]
        pieces.append(bytes(buffers[0]))
        if len(pieces) == content["pieces"]:
            self.worker.ask(partial(self._answer, content["name"], b"".join(self._pieces.pop(content["id"]))))

    def _failed(self, error: Exception) -> None:
        self.view.spoken = {"said": f"{type(error).__name__}: {error}", "error": True}

    def _answer(self, name: str, content: bytes) -> None:
        photograph: Photograph
        try:
            with tempfile.TemporaryDirectory() as folder:  # so that it is read as files of a folder are
                path = Path(folder) / "photograph"
                path.write_bytes(content)
                photograph = self._ask(name, read_photo(path, self.predictor.size, self.predictor.white))
        except (OSError, ValueError) as error:
            photograph = None, Prediction(name, "", {}, str(error))
        self._photographs = remembered[self._key] = [photograph, *self._photographs][:KEPT]
        self._show(photograph)
        self.settle()

    def _ask(self, name: str, pixels: np.ndarray) -> Photograph:
        return pixels, self.predictor.answers([name], torch.from_numpy(pixels)[None])[0]

    def _show(self, photograph: Photograph, licence: str = "") -> None:
        pixels, prediction = photograph
        status = f"{prediction.file}: {headline(prediction)}"
        if pixels is not None:
            limit = (self.reject or RejectOption()).probability
            heat = self._heat(pixels, prediction.label)
            self.figure = figure_of(lambda: answer(pixels, prediction, heat, limit=limit, licence=licence))
            drawn = picture(self.figure)
            self.view.drawn = {**drawn, "alt": f"{status}. {drawn['alt']}"}
        self.view.spoken = {"said": f"{status}.", "error": bool(prediction.error)}
        self.view.rows = [
            [one.file, one.answer or "–", one.error or one.in_words(MOST_BARS), not one.error] for one in self.answers
        ]

    def _heat(self, pixels: np.ndarray, label: str) -> np.ndarray | None:
        x = torch.from_numpy(pixels)[None].to(next(self.model.parameters()).device)
        stages = [name for name, _ in self.model.named_children()]
        try:
            last = stages[stages.index("pool") - 1]
            return grad_cam(self.model, x, self.predictor.classes.index(label), last)[0].cpu().numpy()
        except ValueError:  # nothing is pooled, or tokens are
            return None


upload = Upload


def answer(
    pixels: np.ndarray,
    prediction: Prediction,
    heat: np.ndarray | None = None,
    *,
    limit: float = 0.0,
    licence: str = "",
) -> Any:
    """Draw a picture (uint8 C×H×W) as the network gets it, a heat map over it, and a bar for each likely class.

    heat: h×w ≥ 0, the evidence for the likeliest class; without it the map is left out. limit: the least probability
    of an answer, drawn as a dashed line. licence: of the picture.
    """
    ax = base.axes(None, *SIZE)
    ax.set_axis_off()
    titles = [base.clip(prediction.file or "as the network gets it", 30)]
    if heat is not None:
        titles.append(f"what speaks for ‘{base.clip(prediction.label, 16)}’")
    for k, words in enumerate(titles):
        panel = ax.inset_axes((k * STRIDE, 0.0, TILE, 0.9), anchor="W", **BARE)
        panel.imshow(pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255, extent=SQUARE)
        panel.set_title(words, fontsize=8.5, loc="left", fontweight="normal", color=style.QUIET, pad=4)
    if heat is not None:
        panel.imshow(heat, cmap="inferno", vmin=0, alpha=0.55, interpolation="bilinear", extent=SQUARE)
    start = len(titles) * STRIDE
    _bars(ax.inset_axes((start + 0.03, 0.0, min(0.4, 0.95 - start), 0.9), **BARE), prediction, limit)
    seen = "Without" if heat is None else "With"
    base.title(ax, headline(prediction), f"{prediction.in_words(MOST_BARS)}. {seen} a heat map.")
    base.licence_line(ax, licence)
    return ax


def headline(prediction: Prediction) -> str:
    """Return the answer in a few words: 'rust, 93 %', or 'neither: …' with the reason."""
    if prediction.error:
        return f"cannot be read: {prediction.error}"
    if prediction.refused:
        return f"{prediction.answer}: {prediction.refused}"
    return f"{prediction.label}, {sureness(prediction.confidence)}"


def _bars(ax: Any, prediction: Prediction, limit: float) -> None:
    """Draw a bar a class, its name and probability above it, and the limit that the longest one must reach."""
    likeliest = Counter(prediction.probabilities).most_common(MOST_BARS)
    for i, (name, p) in enumerate(likeliest):
        colour, hatch = (style.VALID, "") if i == 0 and not prediction.refused else ("#BFC9D4", "//")
        ax.barh(i, p, height=0.3, color=colour, hatch=hatch, edgecolor="white")
        base.note(ax, f"{base.clip(name, 18)} {sureness(p)}", (0, i - 0.2), va="bottom", fontsize=9, color=style.INK)
    if limit:
        ends = (-0.17, len(likeliest) - 0.83)
        ax.plot((limit, limit), ends, color=style.INK, linestyle=(0, (3, 2)), linewidth=1, gid="limit")
        base.note(ax, f"limit {limit:.2f}", (limit, ends[1]), (0, -3), ha="center", va="top", fontsize=8)
    ax.set(xlim=(0, 1), ylim=(max(3, len(likeliest)) - 0.4, -0.6))  # two bars need not fill the height of a picture
