"""The upload panel without a browser: what arrives in pieces is answered, what is no picture gets a sentence."""

import io
import time

import numpy as np
import pytest
import torch
from figures import drawn_whole, finding, marked
from PIL import Image

import sftlab as sft
from sftlab.deploy.predict import Prediction
from sftlab.deploy.reject import RejectOption
from sftlab.networks.staging import Source
from sftlab.widgets import upload
from sftlab.widgets.upload import answer

pytestmark = pytest.mark.usefixtures("forget")


def until_idle(panel):
    end = time.monotonic() + 10
    while panel.worker.is_busy:
        assert time.monotonic() < end, "the photographs were not answered in time"
        time.sleep(0.005)


def photograph(seed=0, format_="png"):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format=format_)
    return buffer.getvalue()


def send(panel, name, content, size=1000, id_="1"):
    """Do what the browser does: send a file in pieces."""
    pieces = [content[i : i + size] for i in range(0, len(content), size)] or [b""]
    for piece in pieces:
        message = {"kind": "piece", "id": id_, "name": name, "pieces": len(pieces)}
        panel._received(panel.view, message, [memoryview(piece)])
    until_idle(panel)


def test_a_photograph_that_arrives_in_pieces_is_answered_as_predict_answers_it(tiny, blobs, tmp_path):
    panel = upload(tiny, size=16)
    assert panel.text() == "No photograph yet." and "<p>" in panel.html()
    (tmp_path / "x.png").write_bytes(photograph())
    (wanted,) = sft.predict(tiny, tmp_path / "x.png", size=16)
    for id_ in "12":
        send(panel, "holiday.png", photograph(), id_=id_)
        assert panel.answers[0].probabilities == wanted.probabilities and panel.answers[0].file == "holiday.png"
    assert panel.view.spoken["said"].startswith(f"holiday.png: {wanted.label}, ") and not panel.view.spoken["error"]
    assert panel.view.drawn["src"].startswith("data:image/png;base64,") and "With a heat map" in panel.view.drawn["alt"]
    assert panel.view.rows[0][:2] == ["holiday.png", wanted.label] and len(panel.view.rows) == 2
    assert 'alt="' in panel.bundle()["text/html"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no picture", "not a picture in a format"),
        (b"", "the file is empty"),
        (photograph()[:200], "damaged or cut short"),
    ],
)
def test_a_bad_file_gets_a_sentence_and_the_panel_goes_on(tiny, content, words):
    panel = upload(tiny, size=16)
    send(panel, "bad.jpg", content)
    assert panel.view.spoken["error"] and words in panel.view.spoken["said"] and "bad.jpg" in panel.view.spoken["said"]
    assert panel.answers[0].error and panel.view.rows[0][1] == "–" and not panel.view.rows[0][3]
    send(panel, "good.png", photograph(), id_="2")
    assert not panel.view.spoken["error"] and [a.file for a in panel.answers] == ["good.png", "bad.jpg"]
    shown = panel.view.drawn["src"]
    send(panel, "bad.jpg", content, id_="3")
    assert panel.view.drawn["src"] == shown, "a bad file does not take the picture away"


def test_neither_is_said_with_its_reason(tiny):
    panel = upload(tiny, reject=RejectOption(probability=1.0), size=16)
    send(panel, "x.png", photograph())
    assert panel.answers[0].answer == "neither" and "neither: undecided" in panel.view.spoken["said"]
    assert panel.view.rows[0][1] == "neither"


def test_an_unattended_run_shows_an_image_of_the_split(tiny, blobs):
    panel = upload(tiny, example=blobs.valid, licence="CC0")
    assert "an image of the valid split" in panel.text() and "<figure" in panel.html()
    assert panel.answers == [], "an example is no answer to a learner"
    assert panel.predictor.size == blobs.valid.size


def test_the_same_photographs_are_asked_again_when_the_cell_runs_again(tiny, blobs):
    first = upload(tiny, size=16)
    send(first, "x.png", photograph())
    send(first, "bad.png", b"", id_="2")
    before = first.answers[1].probabilities
    sft.fit(tiny, blobs, sft.full(tiny, 1e-2), epochs=2, keep_best=False, verbose=False)
    send(first, "x.png", photograph(), id_="3")
    assert first.answers[0].probabilities == before, "the panel has a copy of the network"
    again = upload(tiny, size=16)
    assert [a.file for a in again.answers] == ["x.png", "x.png"] and again.answers[0].probabilities != before


def test_an_earlier_photograph_can_be_shown_again(tiny):
    panel = upload(tiny, size=16)
    for k in range(2):
        send(panel, f"{k}.png", photograph(k), id_=str(k))
    newest = panel.view.drawn["src"]
    panel._received(panel.view, {"kind": "show", "row": 1}, [])
    until_idle(panel)
    assert panel.view.spoken["said"].startswith("0.png: ") and panel.view.drawn["src"] != newest


def test_a_network_without_maps_answers_without_a_heat_map():
    plain = torch.nn.Sequential()
    plain.add_module("body", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8)))
    plain.add_module("head", torch.nn.Linear(8, 2))
    model = sft.replace_head(sft.stages(plain, ["body", "head"], source=Source()), ["a", "b"])
    panel = upload(model, size=16)
    send(panel, "x.png", photograph())
    assert "Without a heat map" in panel.view.drawn["alt"]


# --------------------------------------------------------------------------------------------------- the figure


@pytest.mark.parametrize("heat", [None, np.ones((3, 3))])
def test_the_figure_says_the_answer_and_draws_the_limit(heat, house_style):
    said = Prediction("x.jpg", "rust", {"fine": 0.07, "rust": 0.93})
    ax = answer(np.zeros((3, 20, 20), np.uint8), said, heat, limit=0.5, licence="CC0")
    assert finding(ax) == "rust, 93 %" and len(marked(ax, "limit")) == 1 and drawn_whole(ax)
    bars = next(a for a in ax.child_axes if a.patches)
    assert [round(bar.get_width(), 2) for bar in bars.patches] == [0.93, 0.07]
    assert sum(len(a.images) for a in ax.child_axes) == (1 if heat is None else 3)


def test_certainty_is_never_rounded_up(house_style):
    said = Prediction("x.jpg", "rust", {"fine": 0.002, "rust": 0.998}, "", 0.7, "unlike every training image")
    ax = answer(np.zeros((1, 20, 20), np.uint8), said)
    assert finding(ax) == "neither: unlike every training image"
    words = [t.get_text() for a in ax.child_axes for t in a.texts]
    assert words == ["rust > 99 %", "fine < 1 %"]
