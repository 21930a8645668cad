"""The playground: one file, opened from disk without a network, that computes what `fit` computes."""

import browser
import pytest

import sftlab as sft
from tools import playground

pytestmark = [browser.needed, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = playground.build(tmp_path_factory.mktemp("page") / "playground.html")
    assert path.stat().st_size <= 1_500_000
    return path.as_uri()


@pytest.fixture(scope="module")
def opened(address):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as program:
        chromium = program.chromium.launch(executable_path=browser.CHROMIUM, args=browser.FLAGS.split())
        page, faults = chromium.new_page(viewport={"width": 1280, "height": 1400}), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url[:5] in ("file:", "data:") or faults.append(request.url))
        yield page
        assert not faults
        chromium.close()


@pytest.mark.parametrize(
    ("rate", "labels", "optimizer", "seed"), [(0.01, 20, "adamw", 0), (0.1, 66, "sgd", 1), (0.001, 5, "adamw", 2)]
)
def test_the_page_computes_what_fit_computes(opened, address, rate, labels, optimizer, seed):
    model, few = playground.network(playground.images(), seed=seed), playground.images(labels)
    profile = dict.fromkeys(sft.linear_probe(model), 0.0) | {"head": rate}
    history = sft.fit(model, few, profile, 10, optimizer=optimizer, seed=seed, verbose=False)

    opened.goto(f"{address}#rate={rate}")
    epochs = opened.evaluate(f"train({rate}, {labels}, {optimizer!r}, {seed}).map(e => [e.loss, share(e.called)])")

    loss, accuracy = zip(*epochs, strict=True)
    assert loss == pytest.approx([e.valid_loss for e in history.epochs], rel=0.01)
    assert accuracy == pytest.approx([e.valid_accuracy for e in history.epochs], abs=2 / 198)


def test_a_setting_stands_in_the_address_and_comes_back(opened, address):
    opened.goto(f"{address}#rate=0.1&labels=40&optimizer=sgd&starts=3&cell=1-1")
    opened.reload()
    assert opened.locator("#rate-text").text_content() == "0.1"
    assert opened.locator("input:checked").evaluate_all("all => all.map(i => i.value)") == ["40", "sgd", "3"]
    opened.locator("#rate").focus()
    opened.keyboard.press("ArrowLeft")
    assert "rate=0.056&labels=40&optimizer=sgd&starts=3&cell=1-1" in opened.url


def test_a_cell_shows_its_pictures_by_keyboard(opened, address):
    opened.goto(f"{address}#labels=66")
    opened.reload()
    cell = opened.locator("[data-cell='0-0']")
    cell.focus()
    opened.keyboard.press("Enter")
    assert opened.locator("#shown i").count() == int(cell.text_content()) > 0
    assert cell.evaluate("cell => cell === document.activeElement")


def test_the_live_point_lies_on_the_stored_hill(opened, address):
    opened.goto(f"{address}#rate=0.01&labels=20&starts=3")
    opened.reload()
    live = opened.evaluate("interval(last.runs.map(r => r.at(-1).called))[0]")
    assert live == pytest.approx(opened.evaluate("D.hill.adamw[20][state.rate]"), abs=2 / 198)


def test_a_phone_needs_no_sideways_scrolling(opened, address):
    opened.set_viewport_size({"width": 360, "height": 800})
    opened.goto(address)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
