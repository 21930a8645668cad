"""Explorers and the cockpit without a browser: what controls can say, which figure is drawn, how runs end."""

import asyncio
import base64
import threading
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from matplotlib.figure import Figure
from nbclient import NotebookClient

import sftlab as sft
from sftlab import plot, widgets
from sftlab.core import monitors
from sftlab.core.records import Epoch, History, Step
from sftlab.plot.curves import divergence
from sftlab.widgets import button, choice, distribution, explore, slider, strip, words
from sftlab.widgets.base import picture

pytestmark = pytest.mark.usefixtures("forget")


def titled(**values):
    """Draw a figure whose title says what was drawn."""
    ax = Figure(figsize=(3, 2)).add_subplot()
    ax.set_title(" ".join(f"{k}={v}" for k, v in values.items()))
    return ax


def move(control, **positions):
    """Do what the browser does: send new positions; wait until it is drawn, and return the words of the picture."""
    control.view.state = {**control.view.state, **positions}
    until(lambda: not control.worker.is_busy)
    return control.inputs.answer["alt"]


def train(cockpit, **positions):
    """Let go of controls, press Train if that is not enough, and wait until the run is over."""
    cockpit.inputs.state = {**cockpit.inputs.state, **positions}
    if not cockpit.is_training:
        cockpit.start()
    until(lambda: not cockpit.is_training)


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_a_slider_knows_its_values_and_writes_them_with_their_unit():
    assert slider("size", [64, 160, 300], value=160, unit="px").texts == ("64 px", "160 px", "300 px")
    assert slider("n", range(6)).values == (0, 1, 2, 3, 4, 5)
    log = slider("rate", np.geomspace(1e-3, 1, 31), value=0.011)
    assert log.value(log.start) == pytest.approx(0.01) and log.texts[:2] == ("0.001", "0.00126")
    assert slider("share", [0.1, 0.25], text=lambda v: f"{v:.0%}").texts == ("10%", "25%")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: slider("n", []), "nothing to choose"),
        (lambda: slider("n", [1, 2], value=7), "7 is not among 1, 2"),
        (lambda: choice("w", ["a"], value="b"), "'b' is not among a"),
        (lambda: strip("w", []), "nothing to choose"),
        (lambda: distribution("p", ["a", "b"], [0.5, 0.6]), "not one probability for each of a, b"),
        (lambda: distribution("p", ["a", "b"], [1.0]), "not one probability for each of a, b"),
        (lambda: words("out", []), "nothing to choose"),
        (lambda: explore(titled, size=3), "size=3 is no control"),
    ],
)
def test_a_control_that_cannot_be_is_refused_by_a_sentence(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_an_explorer_draws_at_once_and_says_what_it_shows(capsys):
    deep = choice("deep", [False, True], True)
    shown = explore(titled, size=slider("image size", [64, 160], unit="px"), deep=deep, name="e")
    assert shown.values == {"size": 64, "deep": True}
    assert capsys.readouterr().out == "image size: 64 px · deep: True. size=64 deep=True\n"
    assert 'alt="size=64 deep=True"' in shown.html()
    assert shown.inputs.answer["src"].startswith("data:image/svg+xml;base64,") and shown.inputs.answer["width"] == 288


def test_a_figure_that_the_lab_draws_for_an_explorer_is_none_of_pyplots(monkeypatch):
    monkeypatch.setattr(plt, "figure", lambda *a, **k: pytest.fail("pyplot was used in a thread"))
    shown = explore(lambda k: plot.guess_vs_result(k, 5), k=slider("k", range(1, 10)))
    assert move(shown, k=7).startswith("Measured 8 %") and not shown.inputs.answer["error"]


def test_a_cell_that_ends_in_its_panel_shows_it_once_with_a_static_twin():
    source = "from sftlab import widgets\nwidgets.predict('how many', 0, 9)"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert [*output.data] == ["application/vnd.jupyter.widget-view+json", "text/html", "text/plain"]
    assert "how many" in output.data["text/html"] and "how many" in output.data["text/plain"]


def test_a_cell_that_runs_again_keeps_nothing_of_its_earlier_runs_even_of_one_that_was_interrupted():
    draw = """
import gc, time
from ipywidgets import Widget
from matplotlib.figure import Figure
from sftlab import widgets
from sftlab.widgets.base import Panel

def draw(**values):
    print("the controls are there")
    time.sleep(duration)
    return Figure().add_subplot()

def left():
    gc.collect()
    return sum(issubclass(type(thing), (Panel, Widget)) for thing in gc.get_objects())
"""
    panels = "widgets.explore(draw, a=widgets.button('a'), name='a'); widgets.predict('how many', 0, 9)"
    manager, client = start_new_kernel()

    def run(cell, code, duration=0):
        content = {"code": f"duration = {duration}\n{code}", "silent": False, "user_expressions": {"left": "left()"}}
        content["stop_on_error"] = False  # else a cell that comes soon after an error would not be run
        asked = client.session.msg("execute_request", content, metadata={"cellId": cell})
        client.shell_channel.send(asked)
        if duration:
            while client.get_iopub_msg(timeout=60)["header"]["msg_type"] != "stream":
                pass  # nothing is printed yet
            manager.interrupt_kernel()
        replies = iter(lambda: client.get_shell_msg(timeout=60), None)
        return next(r["content"] for r in replies if r["parent_header"]["msg_id"] == asked["msg_id"])

    try:
        run("first", draw)
        assert run("panels", panels, duration=60)["ename"] == "KeyboardInterrupt"
        run("panels", panels)
        run("an error of which IPython keeps the frames, in place of those before", "1 / 0")
        assert run("last", "")["user_expressions"]["left"]["data"]["text/plain"] == "6", "panels, views, layouts"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_lines_are_drawn_on_nothing_so_that_they_stand_in_every_theme_and_images_are_not():
    ax = titled(k=1)
    drawing = base64.b64decode(picture(ax.figure)["src"].removeprefix("data:image/svg+xml;base64,")).decode()
    assert drawing.startswith("<svg") and "#ffffff" not in drawing
    ax.imshow(np.zeros((2, 2)))
    assert picture(ax.figure)["src"].startswith("data:image/png;base64,")


def test_a_moved_control_redraws_and_the_choice_survives_running_the_cell_again():
    def cell():
        return explore(titled, w=choice("weights", ["ImageNet", "random"]), n=button("peek"), name="e")

    shown = cell()
    assert move(shown, w=1, n=3) == "w=random n=3" and shown.values == {"w": "random", "n": 3}
    again = cell()
    assert again.values == {"w": "random", "n": 0}, "clicks are counted from 0 again"
    assert again.inputs.answer["alt"] == "w=random n=0"


def test_words_are_a_text_of_which_a_draw_function_hears_what_is_left():
    text = words("click words out", ["not", "so", "bad"])
    assert text.text([1, 0, 1]) == "not ···· bad"
    shown = explore(titled, kept=text, name="text")
    assert shown.values == {"kept": [True, True, True]}
    assert move(shown, kept=[0, 1, 1]) == "kept=[False, True, True]" and "···· so bad" in shown.html()
    assert explore(titled, kept=text, name="text").values == {"kept": [False, True, True]}


def test_bars_of_a_distribution_are_whole_percents_that_sum_to_a_hundred():
    thirds = distribution("target", ["a", "b", "c"], [1 / 3, 1 / 3, 1 / 3])
    assert thirds.start == [34, 33, 33] and thirds.text(thirds.start) == "a 34 %, b 33 %, c 33 %"
    shown = explore(titled, p=thirds, name="bars")
    assert shown.values == {"p": [0.34, 0.33, 0.33]}
    assert move(shown, p=[100, 0, 0]) == "p=[1.0, 0.0, 0.0]" and "target: a 100 %" in shown.html()
    assert explore(titled, p=thirds, name="bars").values == {"p": [1.0, 0.0, 0.0]}


def test_the_newest_wish_wins_and_one_figure_is_drawn_at_a_time():
    drawn, inside, gate = [], [], threading.Event()

    def draw(k):
        inside.append(k)
        if k:
            gate.wait(10)
        drawn.append((k, len(inside)))
        inside.pop()
        return titled(k=k)

    shown = explore(draw, k=slider("k", range(10)))
    for k in range(1, 10):
        shown.view.state = {"k": k}
        if k == 1:
            until(lambda: inside)
    gate.set()
    until(lambda: shown.inputs.answer["alt"] == "k=9")
    assert drawn == [(0, 1), (1, 1), (9, 1)], "2 to 8 were overtaken, and no two were drawn at once"


def test_an_error_in_the_first_figure_ends_the_cell_and_a_later_one_is_a_sentence():
    def draw(k):
        if k == 1:
            raise RuntimeError("no such picture")
        return titled(k=k)

    with pytest.raises(RuntimeError, match="no such picture"):
        explore(draw, k=slider("k", [1, 2]))
    shown = explore(draw, k=slider("k", [2, 1]))
    move(shown, k=1)
    assert shown.inputs.answer["error"] == "This cannot be drawn: RuntimeError: no such picture"
    assert move(shown, k=0) == "k=2" and not shown.inputs.answer["error"]
    with pytest.raises(TypeError, match="returned nothing"):
        explore(lambda k: None, k=slider("k", [1, 2]))


def history(losses, start=0.7, stopped="finished", trained=None):
    """Make the record of a run from its valid losses."""
    epochs = [Epoch(0, 0, float("nan"), start, 0.5, 0.1)]
    epochs += [Epoch(e, 4 * e, trained or v, v, 1 - min(1, v) / 2, 0.1) for e, v in enumerate(losses, 1)]
    steps = [Step(s, 1 + (s - 1) // 4, losses[(s - 1) // 4], 8, {"head": 0.1}) for s in range(1, 4 * len(losses) + 1)]
    return History(steps, epochs, [{"majority": 0.6}], [stopped])


def test_a_rate_that_is_too_high_is_named_and_drawn_out_of_the_roof():
    runs = {"small": history([0.6, 0.5]), "large": history([9.0, 14.0])}
    assert divergence(runs["small"]) == "" and divergence(runs["large"]) == "diverges, loss 0.7 → 14"
    assert divergence(history([0.6], stopped="diverged")) == "diverged at step 4"
    overfit = history([0.9, 1.2], trained=0.1)
    assert divergence(overfit) == "", "a valid loss that rises while the train loss falls is no matter of the rate"
    ax = plot.curves(runs)
    words = [t.get_text() for child in ax.child_axes for t in child.texts]
    assert "✗ large: diverges, loss 0.7 → 14" in words and "majority" in words
    assert ax.child_axes[0].get_ylim() == (0, pytest.approx(1.05))
    assert "Small gets furthest" in ax.get_title(loc="left")
    with pytest.raises(ValueError, match="no curve to draw"):
        plot.curves({"nothing": History()})


def test_a_cockpit_trains_a_copy_and_keeps_the_record(blobs, tiny):
    before = sft.fingerprint(tiny)
    cockpit = widgets.cockpit(tiny, blobs, rate=0.05, epochs=3, batch_size=16)
    assert cockpit.runs == [] and cockpit.history is None
    asyncio.run(cockpit.run())
    (run,) = cockpit.runs
    assert [e.epoch for e in cockpit.history.epochs] == [0, 1, 2, 3] and run.outcome == "finished"
    assert sft.fingerprint(tiny) == before, "the network that came in is untouched"
    same = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    fitted = sft.fit(same, blobs, sft.linear_probe(same, lr=0.05), epochs=3, batch_size=16, verbose=False)
    assert [e.valid_loss for e in cockpit.history.epochs] == [e.valid_loss for e in fitted.epochs]
    assert sft.fingerprint(cockpit.model) == sft.fingerprint(same)
    assert "<table" in cockpit.html() and "linear probe · AdamW · 0.05 · 3 · " in cockpit.text()
    assert cockpit.chart.chart["runs"][0]["accuracy"][0][0] == 0 and cockpit.chart.busy == ""


def test_where_images_come_in_groups_the_interval_of_a_cockpit_is_over_them(blobs, tiny):
    for count, column in ((8, "valid accuracy (95 %, 8 groups)"), (0, "valid accuracy (95 %, images)")):
        groups = (np.arange(120) % count).tolist() if count else ()
        data = replace(blobs, valid=replace(blobs.valid, image_groups=groups))
        cockpit = widgets.cockpit(tiny, data, name=f"of{count}", epochs=2)
        asyncio.run(cockpit.run())
        assert cockpit.runs[0].accuracy == sft.evaluate(cockpit.model, data.valid).accuracy
        assert cockpit.runs[0].accuracy.groups == count and column in cockpit.html()


def test_the_images_that_a_cockpit_shows_carry_the_answers_of_its_network(blobs, tiny):
    cockpit = widgets.cockpit(tiny, blobs, epochs=3, keep_best=False)
    assert cockpit.chart.fixed["images"][0]["src"].startswith("data:image/png") and len(cockpit.shown) == 12
    for layers in (3, 0):
        train(cockpit, layers=layers)
        expected = np.argmax(sft.evaluate(cockpit.model, cockpit.shown).probabilities, axis=1).tolist()
        assert cockpit.chart.chart["runs"][-1]["answers"] == expected
    labels = [image["label"] for image in cockpit.chart.fixed["images"]]
    assert labels == [blobs.classes[k] for k in cockpit.shown.y]


def test_the_best_run_and_a_pinned_one_stay_whatever_is_pushed_out(blobs, tiny):
    cockpit = widgets.cockpit(tiny, blobs, epochs=1)
    for position in range(3, 12):
        train(cockpit, rate=position)
        if position == 4:
            cockpit.chart.pinned = cockpit.runs[-1].number
    scores = {run.number: run.score for run in cockpit.runs}
    assert len(cockpit.runs) == cockpit.most and cockpit.chart.pinned in scores and cockpit.runs[-1].number == 9
    cockpit.runs[1].accuracy = sft.wilson(9, 9)
    best = cockpit.runs[1]
    for position in range(12, 17):
        train(cockpit, rate=position)
    assert best in cockpit.runs


def test_a_start_that_was_edited_wins_over_what_is_remembered(blobs, tiny):
    cockpit = widgets.cockpit(tiny, blobs, rate=1e-3)
    cockpit.inputs.state = {**cockpit.inputs.state, "rate": 2, "layers": 0}
    assert widgets.cockpit(tiny, blobs, rate=1e-3).values["layers"] == "stem", "the same cell keeps what was chosen"
    assert widgets.cockpit(tiny, blobs, rate=0.05).values["rate"] == 0.05


def test_stop_is_heard_by_a_panel_that_waits_and_a_cell_that_runs_again_stops_its_predecessor(blobs, tiny):
    def loss(logits, y):
        time.sleep(0.3)
        return sft.cross_entropy(logits, y)

    slow = widgets.cockpit(tiny, blobs, name="slow", epochs=4, layers="stem", batch_size=2, loss=loss)
    waiting = widgets.cockpit(tiny, blobs, name="waiting", epochs=40, layers="stem")
    slow.start()
    until(monitors.is_running)
    waiting.start()
    until(lambda: "waits" in waiting.chart.busy)
    waiting.inputs.state = {**waiting.inputs.state, "stop": 1}
    until(lambda: not waiting.is_training)
    assert slow.is_training and waiting.runs == [] and "Stopped before the first step" in waiting.inputs.answer["said"]
    until(lambda: slow.runs[0].history.steps)
    again = widgets.cockpit(tiny, blobs, name="slow", epochs=40, layers="stem", batch_size=2)
    until(lambda: not slow.is_training)
    assert again.runs[0].ended == "stopped" and again.chart.chart["runs"][0]["row"][-1] == "stopped"


def slowly(view, trait, thread, monkeypatch):
    """Let what a thread sends of a trait leave half a second after it was read; return what has left, and an event."""
    left, read = [], threading.Event()

    def send(key=None):
        value = view.trait_values()[trait]
        if key in (trait, {trait}) and threading.current_thread() is thread():
            read.set()
            time.sleep(0.5)
        left.append(value)

    monkeypatch.setattr(view, "send_state", send)
    return left, read


def test_a_click_while_a_run_ends_leaves_the_newest_words_on_the_page(blobs, tiny, monkeypatch):
    cockpit = widgets.cockpit(tiny, blobs)
    end = threading.Thread(target=cockpit.say, args=("Run 1 finished.",))
    left, read = slowly(cockpit.inputs, "answer", lambda: end, monkeypatch)
    end.start()
    read.wait()
    cockpit.inputs.state = {**cockpit.inputs.state, "layers": 0}  # answered in this thread: what takes long waits
    end.join()
    assert left[-1] == cockpit.inputs.answer and left[-1]["state"]["layers"] == 0


def test_a_run_that_ends_while_runs_are_forgotten_leaves_the_page(blobs, tiny, monkeypatch):
    cockpit = widgets.cockpit(tiny, blobs)
    asyncio.run(cockpit.run())
    left, read = slowly(cockpit.chart, "chart", threading.main_thread, monkeypatch)
    monkeypatch.setattr(cockpit, "begin", lambda run: (record for record in (read.wait(),) if not record))
    cockpit.inputs.state = {**cockpit.inputs.state, "rate": 3}
    until(lambda: len(cockpit.runs) == 2)
    cockpit.inputs.state = {**cockpit.inputs.state, "forget": 1}
    until(lambda: not cockpit.is_training)
    assert cockpit.runs == left[-1]["runs"] == [], "although a run that ends before its first step gives back the rest"


def test_what_is_moved_during_a_slow_run_is_queued_and_says_so(blobs, tiny):
    asyncio.run(widgets.cockpit(tiny, blobs, name="fills the store", epochs=1).run())
    cockpit = widgets.cockpit(tiny, blobs, epochs=40, layers="stem", batch_size=2)
    cockpit.start()
    until(lambda: cockpit.chart.busy and cockpit.runs)
    cockpit.inputs.state = {**cockpit.inputs.state, "layers": 3}
    assert "Queued: the head is trained when run 1 ends" in cockpit.inputs.answer["said"]
    until(lambda: not cockpit.is_training, seconds=120)
    assert [run.settings["layers"] for run in cockpit.runs] == ["stem", "head"]


def test_under_five_groups_a_cockpit_says_that_there_is_no_interval(blobs, tiny):
    data = replace(blobs, valid=replace(blobs.valid, image_groups=[7] * 120))
    cockpit = widgets.cockpit(tiny, data, epochs=1)
    asyncio.run(cockpit.run())
    assert "(no interval) %" in cockpit.text() and cockpit.runs[0].accuracy.why


def test_letting_go_of_the_rate_trains_a_cached_probe_and_anything_slower_waits_for_train(blobs, tiny):
    cockpit = widgets.cockpit(tiny, blobs, epochs=2)
    asyncio.run(cockpit.run())
    assert not cockpit.inputs.fixed["live"], "a drag is heard when it ends"
    for position in (3, 9):
        cockpit.inputs.state = {**cockpit.inputs.state, "rate": position}
        until(lambda: not cockpit.is_training)
    assert [run.settings["rate"] for run in cockpit.runs] == [1e-3, 1e-4, 1e-2]
    cockpit.inputs.state = {**cockpit.inputs.state, "layers": 0}
    assert not cockpit.is_training and "Press Train for full fine-tuning" in cockpit.inputs.answer["said"]
    cockpit.inputs.state = {**cockpit.inputs.state, "train": 1}
    until(lambda: not cockpit.is_training)
    assert cockpit.runs[-1].learns == "full fine-tuning"
    train(cockpit, rate=3, layers=3)
    assert [run.number for run in cockpit.runs] == [1, 3, 4, 5], "the same settings take the place of the old run"
    again = widgets.cockpit(tiny, blobs, epochs=2)
    assert len(again.runs) == 4 and again.values["rate"] == 1e-4, "running the cell again forgets nothing"
    again.inputs.state = {**again.inputs.state, "forget": 1}
    assert again.runs == [] and again.chart.chart["title"] == "No run yet"


def test_a_run_that_fails_says_so_on_the_page_and_in_the_cell(blobs, tiny):
    def broken(logits, y):
        raise ZeroDivisionError("a loss of my own")

    cockpit = widgets.cockpit(tiny, blobs, loss=broken)
    with pytest.raises(ZeroDivisionError, match="a loss of my own"):
        asyncio.run(cockpit.run())
    assert cockpit.inputs.answer["error"] == "This run failed: ZeroDivisionError: a loss of my own"
    assert cockpit.runs == [] and not monitors.is_running()
    weights = [1.0, 1.0]

    def twice(logits, y):
        return weights.pop() * sft.cross_entropy(logits, y)

    cockpit = widgets.cockpit(tiny, blobs, name="later", keep_best=False, loss=twice)
    with pytest.raises(IndexError):
        asyncio.run(cockpit.run())
    assert [run.outcome for run in cockpit.runs] == ["failed"]
    twins = {"a": ["x", "y"], "b": ["x", "y"]}
    with pytest.raises(ValueError, match="one head"):
        widgets.cockpit(tiny, type("Data", (), {"classes": twins})())
