"""The book, as `make book` builds it, opens from disk at any width, light and dark, and axe finds nothing on it."""

from importlib.util import find_spec

import browser
import pytest

from tools import book

PAGES = ("index", "notebooks/05_rate", "notebooks/faq", "core", "notebooks/exercises/freeze")
pytestmark = [
    browser.needed,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("myst_nb") is None or find_spec("furo") is None, reason="`make book` installs both"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    assert book.build(folder) == 0
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1280])
def test_pages_of_the_book_fit_and_have_no_barriers(site, width, scheme):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with sync_playwright() as program:
        chromium = program.chromium.launch(executable_path=browser.CHROMIUM, args=browser.FLAGS.split())
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        for name in PAGES:
            page.goto((site / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
            worst = [rule for rule in found if rule["impact"] in ("serious", "critical")]
            assert [(rule["id"], rule["nodes"][0]["html"][:150]) for rule in worst] == [], name
        chromium.close()
