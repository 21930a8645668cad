"""An executed notebook as one HTML page that opens anywhere, without a network and without Jupyter."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from sftlab.runs import formulas, notebooks
from sftlab.runs.publishing import without_overwritten, without_widget

# nbconvert's page without the three scripts it fetches (require.js, MathJax, Mermaid), code folded away.
PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block extra_css -%}
<style>
  main { max-width: 60rem; margin: 0 auto; padding: 0 1rem }
  .code > summary { cursor: pointer; color: #696969; font: 12px sans-serif }
  img { max-width: 100% }
  math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", math; font-size: 1.05em }
  math[display="block"] { margin: 1em 0 }
  @media print {
    .code > summary { display: none }
    h1, h2, h3 { break-after: avoid }
    figure, table, pre, blockquote { break-inside: avoid }
    .jp-OutputArea-output pre { font-size: 7.6pt !important }
  }
</style>
{%- endblock -%}
{%- block input -%}
{%- set tags = cell.metadata.get('tags', []) -%}
<details class="code" {{ 'open' if 'injected-parameters' in tags }}>
<summary>{{ 'parameters' if 'parameters' in tags | join(' ') else 'code' }}</summary>
{{ super() }}</details>
{%- endblock -%}
"""
# What makes a browser fetch something by itself: what stands before the address, and the address.
FETCHED = re.compile(
    r"""(<(?:script|img|iframe|source|video|audio|embed|link)\b[^>]*?\s(?:src|href)\s*=\s*["']?"""
    r"""|(?:@import\s+|url\()\s*["']?)((?:https?:)?//[^"'\s>)]+)"""
)


def report(executed: str | Path, pictures: Path | None = None) -> Path:
    """Write an executed notebook as one HTML file beside it, code folded away, and return the file's path.

    pictures: the folder that the notebook's own picture links start from; its own by default.
    Nothing on the page is fetched: formulas become MathML, and a picture that the notebook names by its address shows
    its alt text.
    """
    executed = Path(executed)
    book = notebooks.read(executed)
    book.metadata.pop("widgets", None)
    book.metadata["title"] = title(book) or executed.stem
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if without_widget(output)]
            for output in cell.outputs:
                if output.output_type == "stream":
                    output.text = without_overwritten(output.text)
    resources = {"metadata": {"name": executed.stem, "path": str(pictures or executed.parent)}}
    html, _ = exporter().from_notebook_node(book, resources)
    page = executed.with_suffix(".html")
    page.write_text(FETCHED.sub(r"\1data:,", html), encoding="utf-8")
    return page


@cache
def exporter() -> Any:
    """Return nbconvert's exporter with our page and formulas: reading its templates takes longer than filling them."""
    from jinja2 import pass_context
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        """nbconvert's; but it parses each tag of a text by itself, to embed pictures, which closes it at once."""

        def inline_html(self, html: str) -> str:
            return super().inline_html(html) if "<img" in html else html

        def block_html(self, html: str) -> str:
            return super().block_html(html) if "<img" in html else f"{html}\n"

    class Exporter(HTMLExporter):
        @pass_context
        def markdown2html(self, context: Any, source: str) -> str:
            cell, about = context.get("cell", {}), context["resources"]["metadata"]
            renderer = Renderer(
                escape=False, attachments=cell.get("attachments", {}), embed_images=True, path=about.get("path", "")
            )
            return formulas.typeset(MarkdownWithMath(renderer=renderer).render(source))

    return Exporter(raw_template=PAGE, embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)


def rehearse() -> None:
    """Make a small page and throw it away: what the first one has to read and compile is then there for all."""
    cells = [new_markdown_cell("# A *page*, $x$"), new_code_cell("1 + 1", outputs=[new_output("stream", text="2")])]
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    exporter().from_notebook_node(new_notebook(cells=cells, metadata=metadata), {"metadata": {"name": "a", "path": ""}})


def title(book: NotebookNode) -> str:
    """Return the first heading of a notebook, as plain text; '' if it has none."""
    prose = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    found = re.search(r"^#+\s+(.+)$", prose, re.MULTILINE)
    return re.sub(r"[*`$]", "", found[1]).strip() if found else ""


def external_references(html: str) -> list[str]:
    """Return the addresses that a browser would fetch to show a page; links to click do not count."""
    return [found[2] for found in FETCHED.finditer(html)]
