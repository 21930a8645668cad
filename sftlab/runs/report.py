"""An executed notebook as one HTML page that opens anywhere, without a network; `sftlab run` and `sweep` write it.

Formulas become MathML, which a browser sets by itself and a screen reader reads as mathematics: MathJax would come
from the network.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from functools import partial
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode

from sftlab.data.storage import as_path
from sftlab.runs import notebooks

# What makes a browser fetch something by itself: what stands before the address, and the address.
FETCHED = re.compile(
    r"""(<(?:script|img|iframe|source|video|audio|embed|link)\b[^>]*?\s(?:src|href)\s*=\s*["']?"""
    r"""|(?:@import\s+|url\()\s*["']?)((?:https?:)?//[^"'\s>)]+)"""
)
PICTURE = re.compile(r"""(<img\b[^>]*?\ssrc=["'])([^"':]+)""")
# Of what stands between dollars, only what they touch is a formula: `$x$` is one, "5$ or 6$" are two prices.
FORMULA = re.compile(
    r"<(?P<kept>code|pre|script|style|svg|textarea)\b.*?</(?P=kept)>|<[^>]*>"  # left alone, as is any tag
    r"|\$\$(?P<display>[^<]+?)\$\$|(?P<lines>\\begin\{(?P<name>[a-z]+\*?)\}[^<]*?\\end\{(?P=name)\})"
    r"|(?<![\\$\w])\$(?=\S)(?P<inline>[^$<]+?)(?<=\S)\$(?!\w)",
    re.DOTALL,
)
# TeX's spaces, which MathML's own rules do not give: a/b closed up, (−a) with a sign, p log p but log(p).
SPACING = (
    (r"<mo>(&#x0002F;)</mo>", r'<mo lspace="0" rspace="0">\1</mo>'),
    (
        r"(<mo[^>]*>(?!&#x00029;|&#x0005D;|&#x0007D;|&#x0007C;|&#x02016;)[^<]+</mo>)<mo>(&#x02212;)",
        r'\1<mo form="prefix">\2',
    ),
    (r"<m[io]>([A-Za-z]{2,})</m[io]>(?=<mo)", r'<mo lspace="0.167em" rspace="0">\1</mo>'),
    (r"<m[io]>([A-Za-z]{2,})</m[io]>", r'<mo lspace="0.167em" rspace="0.167em">\1</mo>'),
)


def report(executed: str | Path, pictures: Path | None = None) -> Path:
    """Write an executed notebook as one HTML file beside it, code folded away, and return the file's path.

    What a cell tagged `summary` left comes first: a reader wants the answer, then how it was found.
    pictures: the folder that the notebook's own picture links start from; its own by default.
    Nothing on the page is fetched: a picture that the notebook names by its address shows its alt text.
    """
    from nbconvert import HTMLExporter

    executed = as_path(executed)
    book = notebooks.read(executed)
    book.metadata.pop("widgets", None)
    prose = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    book.metadata["title"] = notebooks.heading(prose) or executed.stem
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if without_widget(output)]
    book.cells.sort(key=lambda cell: not ("summary" in cell.metadata.get("tags", []) and cell.get("outputs")))
    template = str(Path(__file__).with_name("report.html.j2"))
    exporter = HTMLExporter(template_file=template, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", enabled=True)
    html, _ = exporter.from_notebook_node(book)
    html = FORMULA.sub(_formula, html)
    html = PICTURE.sub(partial(_embedded, pictures or executed.parent), html)
    page = executed.with_suffix(".html")
    page.write_text(FETCHED.sub(r"\1data:,", html), encoding="utf-8")
    return page


def without_widget(output: NotebookNode) -> bool:
    """Take the live widget out of one output, in place; tell whether anything is left to show."""
    data = output.get("data")
    if data is None:
        return True
    widgets = [mime for mime in list(data) if mime.startswith("application/vnd.jupyter.widget-") and data.pop(mime)]
    # a plain widget leaves only its repr, "IntSlider(value=3, …)": nothing a reader can use
    only_repr = set(data) == {"text/plain"} and re.fullmatch(r"\w+\(.*\)", data["text/plain"], re.DOTALL)
    return bool(data) and not (widgets and only_repr)


def _formula(match: re.Match[str]) -> str:
    """Return a TeX formula as MathML; what cannot be read as one stays as it is, and so does code."""
    from latex2mathml.converter import convert

    display = match["display"] or match["lines"]
    tex = display or match["inline"]
    if not tex:
        return match[0]
    try:
        mathml = convert(" ".join(unescape(tex).split()), display="block" if display else "inline")
    except Exception:  # its errors have no base of their own, and odd input ends in any of Python's
        return match[0]
    if "\\" in mathml:  # a command that it does not know
        return match[0]
    for pattern, spaced in SPACING:
        mathml = re.sub(pattern, spaced, mathml)
    return mathml


def _embedded(folder: Path, match: re.Match[str]) -> str:
    """Return the beginning of an <img> with the content of its file in place of the file's name."""
    path = folder / unquote(unescape(match[2]))
    if not path.is_file():
        return match[0]
    return f"{match[1]}data:{mimetypes.guess_type(path)[0]};base64,{base64.b64encode(path.read_bytes()).decode()}"
