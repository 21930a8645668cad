"""Upload a photograph: the answer, how sure it is, where the network looked, or "neither"."""

from __future__ import annotations

import base64
import copy
import html
import io
import queue
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from sftlab.analysis.explain import grad_cam
from sftlab.core.model import evaluating
from sftlab.data import Split, read_photo
from sftlab.deploy.predict import Prediction, Predictor, predictor
from sftlab.deploy.reject import RejectOption
from sftlab.plot import answers as plot
from sftlab.plot import style
from sftlab.widgets.dropzone import DropZone
from sftlab.widgets.panel import Panel, drawing, remembered

SHARP = 144  # dots per inch
KEPT = 12  # photographs in the table


@dataclass(frozen=True)
class _Asked:
    """A photograph as the network got it (uint8 3×S×S; None if it could not be read) and what it said."""

    pixels: np.ndarray | None
    prediction: Prediction


class Upload(Panel):
    """A field for photographs and what a network says of them: `answers` holds the predictions, the newest first.

    The network is a copy, so it can be trained on; running the cell again asks the new one about the same photographs.
    """

    def __init__(
        self, model: nn.Sequential, reject: RejectOption | None, size: int | None, example: Split | None, licence: str,
        name: str,
    ) -> None:  # fmt: skip
        self.model, self.reject, self.licence = copy.deepcopy(model).eval(), reject, licence
        size = size or (example.size if example is not None else None)
        self.predictor: Predictor = predictor(self.model, size=size, reject=reject)
        self._stage = _last_maps(self.model, self.predictor.size)
        self._key = ("upload", name, tuple(self.predictor.classes), self.predictor.size)
        before = [(one.prediction.file, one.pixels) for one in remembered.get(self._key, [])]
        self._asked = [self._ask(file, pixels) for file, pixels in before if pixels is not None]
        self._example = self._of_split(example) if example is not None else None
        self._pieces: dict[str, dict[int, bytes]] = {}
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._lock, self._worker = threading.Lock(), None
        self.view = DropZone(name=name, title="Photographs for the network")
        self._show(self._asked[0] if self._asked else self._example)
        self._list()
        self.view.on_msg(self._received)

    _worker: threading.Thread | None
    _figure: Any = None

    @property
    def answers(self) -> list[Prediction]:
        """What was answered, the newest first; a file that could not be read has its `error`."""
        return [one.prediction for one in self._asked]

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return what the figure shows, in a line."""
        return self.view.drawn.get("alt") or "No photograph yet."

    def html(self) -> str:
        """Return the figure that is shown."""
        if self._figure is None:
            return f"<p>{html.escape(self.text())}</p>"
        with drawing:
            return style.figure_html(self._figure)

    def wait(self, seconds: float = 10) -> None:
        """Wait until everything that has arrived is answered."""
        worker = self._worker
        if worker is not None:
            worker.join(seconds)

    def _received(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        """Collect the pieces of a photograph; the whole one is answered in a thread, one after the other."""
        if content.get("kind") == "show":
            self._wish(("show", int(content["row"])))
        elif content.get("kind") == "piece":
            pieces = self._pieces.setdefault(content["id"], {})
            pieces[int(content["piece"])] = bytes(buffers[0])
            if len(pieces) == content["pieces"]:
                whole = self._pieces.pop(content["id"])
                self._wish((str(content["name"]), b"".join(whole[i] for i in range(len(whole)))))

    def _wish(self, wish: tuple[str, Any]) -> None:
        self._inbox.put(wish)
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, daemon=True, name="sftlab-upload")
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._inbox.empty():
                    self._worker = None
                    return
            name, content = self._inbox.get()
            try:
                if isinstance(content, int):
                    self._show(self._asked[content])
                    continue
                with tempfile.TemporaryDirectory() as folder:  # so that it is read as files of a folder are
                    path = Path(folder) / "photograph"
                    path.write_bytes(content)
                    self._answer(name, path)
            except Exception as error:  # belongs on the page, not into a thread that nobody sees
                self.view.spoken = {"said": f"{name}: {type(error).__name__}: {error}", "error": True}

    def _answer(self, name: str, path: Path) -> None:
        try:
            one = self._ask(name, read_photo(path, self.predictor.size))
        except (OSError, ValueError) as error:
            one = _Asked(None, Prediction(name, "", {}, str(error)))
        self._asked = [one, *self._asked][:KEPT]
        remembered[self._key] = self._asked
        self._show(one)
        self._list()
        self.settle()

    def _ask(self, name: str, pixels: np.ndarray) -> _Asked:
        return _Asked(pixels, self.predictor.answers([name], torch.from_numpy(pixels)[None])[0])

    def _of_split(self, split: Split) -> _Asked:
        pixels = split.pixels(np.arange(1)).expand(-1, 3, -1, -1)[0].numpy()
        return self._ask(f"an image of the {split.name} split", pixels)

    def _show(self, one: _Asked | None) -> None:
        if one is None:
            self.view.spoken = {"said": "No photograph yet.", "error": False}
            return
        said = f"{one.prediction.file}: {plot.headline(one.prediction)}"
        if one.pixels is not None:
            with drawing:
                self._figure = self._draw(one)
                self.view.drawn = _picture(self._figure, said)
        self.view.spoken = {"said": f"{said}.", "error": bool(one.prediction.error)}

    def _list(self) -> None:
        self.view.rows = [
            [p.file, "–" if p.error else p.answer, p.error or plot.told(p), one.pixels is not None]
            for one in self._asked
            for p in [one.prediction]
        ]

    def _draw(self, one: _Asked) -> Figure:
        assert one.pixels is not None
        figure = Figure(figsize=plot.SIZE, layout="constrained")
        heat = self._heat(torch.from_numpy(one.pixels)[None], one.prediction.label)
        limit = self.reject.probability if self.reject is not None else 0.0
        licence = self.licence if one is self._example else ""
        plot.answer(one.pixels, one.prediction, heat, limit=limit, licence=licence, ax=figure.add_subplot())
        return figure

    def _heat(self, x: Tensor, label: str) -> np.ndarray | None:
        if self._stage is None:
            return None
        x = x.to(next(self.model.parameters()).device)
        return grad_cam(self.model, x, self.predictor.classes.index(label), self._stage)[0].cpu().numpy()


def upload(
    model: nn.Sequential, *, reject: RejectOption | None = None, size: int | None = None, example: Split | None = None,
    licence: str = "", name: str = "upload",
) -> Upload:  # fmt: skip
    """Let the learner drop photographs; show the answer, its probability and its heat map, or "neither".

    reject: the limits beyond which the answer is "neither" (`choose_reject_option`). size: edge in pixels, by default
    that of `example`, else the card's. example: a split whose first image is shown until a photograph comes, and in
    unattended runs; licence: of its images. name: part of the CSS classes `sft-NAME-input`, `-status`, `-picture` and
    `-rows`. Photographs go to the kernel only; the figure of the last one is saved with the notebook.
    Raises ValueError for a model whose card names no single list of classes.
    """
    panel = Upload(model, reject, size, example, licence or "", name)
    panel.show()
    return panel


def _last_maps(model: nn.Sequential, size: int) -> str | None:
    """Return the last stage that makes maps of more than one place; None for a network of tokens."""
    found, x = None, torch.zeros(1, 3, size, size, dtype=torch.uint8, device=next(model.parameters()).device)
    with evaluating(model), torch.no_grad():
        for name, stage in model.named_children():
            x = stage(x)
            if isinstance(x, Tensor) and x.ndim == 4 and x.shape[-1] > 1 and x.shape[1] > 3:
                found = name
    return found


def _picture(figure: Figure, said: str) -> dict[str, Any]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=SHARP, pil_kwargs={"compress_level": 1})
    code = base64.b64encode(buffer.getvalue()).decode()
    alt, width = f"{said}. {style.alt(figure)}", round(96 * plot.SIZE[0])
    return {"src": f"data:image/png;base64,{code}", "alt": alt, "width": width}
