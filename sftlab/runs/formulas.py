r"""TeX formulas as MathML, which a browser sets by itself: MathJax would come from the network.

A screen reader reads MathML as mathematics, and it can be searched and copied. Of what stands between dollars, only
what they touch is a formula: `$x$` is one, "5$ or 6$" are two prices.
"""

from __future__ import annotations

import re
from html import unescape
from xml.etree import ElementTree as Tree

FORMULA = re.compile(
    r"(<(?P<kept>code|pre|script|style|textarea)\b.*?</(?P=kept)>|<[^>]*>)"  # left alone, as is any tag
    r"|\$\$(?P<display>[^<]+?)\$\$|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}[^<]*?\\end\{(?P=name)\})"
    r"|(?<![\\$\w])\$(?=\S)(?P<inline>[^$<]+?)(?<=\S)\$(?!\w)",
    re.DOTALL,
)
SCRIPTED = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
THIN = "0.167em"


def typeset(html: str) -> str:
    """Replace the TeX formulas of a page by MathML; what cannot be read as one stays as it is, and so does code.

    >>> typeset("<p>costs 5$ or 6$, see <code>$x$</code></p>")
    '<p>costs 5$ or 6$, see <code>$x$</code></p>'
    """

    def replaced(found: re.Match[str]) -> str:
        own_line = found["display"] or found["environment"]
        if not (tex := own_line or found["inline"]):
            return found[0]
        try:
            return mathml(unescape(tex), display=bool(own_line))
        except ValueError:
            return found[0]

    return FORMULA.sub(replaced, html)


def mathml(tex: str, *, display: bool = False) -> str:
    """Return a TeX formula as a `<math>` element.

    display: on a line of its own. Raises ValueError for what is not a formula, an unknown command for instance.
    """
    from latex2mathml.converter import convert

    text = " ".join(tex.split())
    try:
        root = Tree.fromstring(convert(text, display="block" if display else "inline"))
    except Exception as error:  # its errors have no base of their own, and odd input ends in any of Python's
        raise ValueError(f"{text!r} cannot be read as a formula: {str(error) or type(error).__name__}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if "\\" in (element.text or ""):
            raise ValueError(f"{text!r} cannot be read as a formula: {element.text} is unknown")
    for row in [*root.iter()]:
        _space(row)
    return Tree.tostring(root, encoding="unicode")


def _space(row: Tree.Element) -> None:
    """Space a row as TeX does: a/b and (−a) closed up, names of functions apart: log q, p log p, but log(q)."""
    if row.tag not in ("math", "mrow", "mstyle", "mtd"):
        return
    children = list(row)
    cores = [_core(child) for child in children]
    for i in reversed(range(len(children))):
        here, before = cores[i], cores[i - 1] if i else None
        if here.tag == "mo" and (_is_name(here) or here.text == "/" or (here.text in ("−", "+") and _opens(before))):
            here.attrib |= {"lspace": "0", "rspace": "0"}
        if not _is_name(here):
            continue
        if i + 1 < len(children) and (cores[i + 1].tag not in ("mo", "mspace") or _is_name(cores[i + 1])):
            row.insert(i + 1, Tree.Element("mspace", width=THIN))
        if before is not None and not _is_name(before) and (before.tag not in ("mo", "mspace") or before.text == ")"):
            row.insert(i, Tree.Element("mspace", width=THIN))


def _core(element: Tree.Element) -> Tree.Element:
    """Return what an element is without its indices and exponents."""
    return _core(element[0]) if element.tag in SCRIPTED else element


def _opens(before: Tree.Element | None) -> bool:
    """Tell whether a minus after this is a sign: at the beginning, and after anything but a closed term."""
    return before is None or (before.tag == "mo" and before.text not in (")", "]", "}", "|", "‖", "!"))


def _is_name(core: Tree.Element) -> bool:
    return core.tag in ("mi", "mo") and re.fullmatch("[a-zA-Z]{2,}", core.text or "") is not None
