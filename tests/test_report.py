"""The report of a run: one HTML page that needs no network, with its formulas and pictures in it."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import nbformat
import pytest

import sftlab as sft
from sftlab.lessons.your_own_images import summary
from sftlab.runs import notebooks
from sftlab.runs.report import FETCHED, report


def reported(markdown, folder, **output):
    cells = [nbformat.v4.new_markdown_cell(markdown)]
    if output:
        cells.append(nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", output)]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "small.ipynb")
    html = report(folder / "small.ipynb").read_text(encoding="utf-8")
    return html[html.index("<main") :]


def test_formulas_become_mathml_in_prose_headings_and_shown_markdown(tmp_path):
    prose = "## With $n_1$\n\nSo $a*b*c_1 < d_2$, and\n\n$$\\log q_i$$\n\n\\begin{align} a &= b \\end{align}\n"
    html = reported(prose, tmp_path, **{"text/markdown": "then $\\eta_0$"})
    heading, inline, display, lines, shown = re.findall("<math.*?</math>", html)
    assert "$" not in re.sub("<[^>]*>", "", html)
    assert unescape(re.sub("<[^>]*>", "", inline)) == "a*b*c1<d2", "Markdown took its signs for its own"
    assert "<h2" in html[: html.index(heading)] and "η" in unescape(shown) and 'display="inline"' in shown
    assert 'display="block"' in display and 'display="block"' in lines


@pytest.mark.parametrize(
    ("tex", "spaced"),
    [
        ("p\\log q", '<mi>p</mi><mo lspace="0.167em" rspace="0.167em">log</mo><mi>q</mi>'),
        ("\\log(q)", 'rspace="0">log</mo><mo stretchy'),
        ("a / b", 'lspace="0" rspace="0">&#x0002F;</mo>'),
        ("(-a)", '<mo form="prefix">&#x02212;</mo><mi>a</mi>'),
        ("(b) - a", "<mo>&#x02212;</mo><mi>a</mi>"),
    ],
)
def test_formulas_are_spaced_as_tex_spaces_them(tmp_path, tex, spaced):
    assert spaced in reported(f"${tex}$", tmp_path)


def test_what_is_no_formula_and_what_stands_in_code_stays_as_it_is(tmp_path):
    html = reported("$\\unheardof x$, $a_$, 5$ and 6$\n\n```\n$x$\n```\n`$y$` <code>$z$</code>", tmp_path)
    assert "<math" not in html
    assert all(text in html for text in ("$\\unheardof x$, $a_$, 5$ and 6$", "$x$", "$y$", "$z$"))


def test_tags_in_prose_hold_what_they_were_written_around(tmp_path):
    (tmp_path / "dot.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    folded = "<details>\n<summary>Answer</summary>\n\n*four*\n\n</details>"
    html = reported(f'H<sub>2</sub>O\n\n{folded}\n\n<img alt="a" src="dot.svg">\n', tmp_path)
    assert "H<sub>2</sub>O" in html and 'src="data:image/svg+xml;base64,' in html
    assert re.search(r"<details>\s*<summary>Answer</summary>\s*<p><em>four</em></p>\s*</details>", html)


@pytest.mark.parametrize("source", notebooks.sources(Path(__file__).parents[1]), ids=notebooks.name_of)
def test_every_formula_of_every_notebook_is_one_that_a_report_can_show(source, tmp_path):
    prose = "\n\n".join(cell.source for cell in notebooks.read(source).cells if cell.cell_type == "markdown")
    html = re.sub("(?s)<pre.*?</pre>|<code.*?</code>|<[^>]*>", "", reported(prose, tmp_path))
    assert "$" not in html and "\\begin" not in html


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js">',
        "<img alt='a' src='//host/a.png'>",
        "<link rel=stylesheet href=http://h/a.css>",
        "<style>@import 'https://h/a.css'</style>",
        "<p style='background: url(https://h/a.png)'>",
    ],
)
def test_external_references_are_found(html):
    assert FETCHED.sub(r"\1data:,", html).count("data:,") == 1


def test_what_a_summary_says_comes_first_and_its_code_is_not_shown(tmp_path):
    output = nbformat.v4.new_output("display_data", {"text/markdown": "# 90 % are right"})
    cells = [nbformat.v4.new_markdown_cell("# A question"), nbformat.v4.new_code_cell("secret()", outputs=[output])]
    cells[1].metadata["tags"] = ["summary"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "small.ipynb")
    html = report(tmp_path / "small.ipynb").read_text(encoding="utf-8")
    assert "<title>A question" in html and "secret" not in html
    assert html.index("90 % are right", html.index("<main")) < html.index("A question", html.index("<main"))


def test_a_number_without_an_interval_is_not_said_to_have_one(tiny, blobs):
    few = replace(blobs.test, image_groups=[k % 3 for k in range(len(blobs.test.images))])
    history = sft.fit(tiny, blobs, sft.linear_probe(tiny), 1, verbose=False)
    for split, sure in ((few, False), (blobs.test, True)):
        result = sft.evaluate(tiny, split)
        page = summary(blobs, tiny, history, result, strategy="probe")
        assert bool(result.accuracy.why) != sure and ("with the 95 % interval" in page) == sure
        assert ("cannot be said from so few" in page) != sure and ("± " in page) <= sure
