"""Write what `notebooks/lessons.yml` says of the lessons to where people read it, or check that it stands there.

    python -m tools.course [--check]

The map of lesson 00, the minutes at the head of every lesson, and the tables of `notebooks/teaching.md`: each is made
from that one file. `python -m tools.checks` calls it with `--check`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
START = NOTEBOOKS / "src" / "00_start_here.py"


def main(words: list[str]) -> int:
    """Write every file that differs from what it should be; with --check only say which do."""
    course = yaml.safe_load((NOTEBOOKS / "lessons.yml").read_text(encoding="utf-8"))
    differ = [path for path, text in texts(course).items() if path.read_text(encoding="utf-8") != text]
    for path in differ:
        if "--check" not in words:
            path.write_text(texts(course)[path], encoding="utf-8", newline="\n")
        print(f"{path.relative_to(ROOT)} {'differs' if '--check' in words else 'is written'}")
    if "--check" in words:
        print("`python -m tools.course` writes them" if differ else "the lessons say what lessons.yml says")
    return bool(differ) and "--check" in words


def texts(course: dict[str, Any]) -> dict[Path, str]:
    """Return what each file should hold."""
    pages = {}
    lessons = {**course["core"], **course["further"]}
    for name, lesson in lessons.items():
        path = NOTEBOOKS / "src" / f"{name}.py"
        head, cell, rest = path.read_text(encoding="utf-8").partition("\n# %%\n")
        pages[path] = re.sub(r"\d+ minutes", f"{lesson['minutes']} minutes", head, count=1) + cell + rest
    rows = "\n".join(f"# {row}" for row in map_rows(course["core"]))
    pages[START] = between(pages[START], "# lesson|question|minutes\n# ---|---|---\n", rows, "\n#\n")
    page = (NOTEBOOKS / "teaching.md").read_text(encoding="utf-8")
    for name, table in tables(course, lessons).items():
        page = between(page, f"<!-- {name} -->\n", f"\n{table}\n", "\n<!-- end -->")
    pages[NOTEBOOKS / "teaching.md"] = page
    return pages


def between(page: str, start: str, text: str, end: str) -> str:
    """Return a page with a text between the first `start` and the `end` after it."""
    before, _, rest = page.partition(start)
    return before + start + text + end + rest.partition(end)[2]


def map_rows(core: dict[str, Any]) -> list[str]:
    """Return the rows of the map in lesson 00, which is where the reader is."""
    links = {name: title(name) if name in START.name else f"[{title(name)}]({name}.ipynb)" for name in core}
    return [f"**{links[name]}**|{lesson['question']}|{lesson['minutes']}" for name, lesson in core.items()]


def tables(course: dict[str, Any], lessons: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the teacher's page by the names of their places."""
    names = {name.partition("_")[0] if name in course["core"] else name: name for name in lessons}
    names |= {name.partition("/")[2]: name for name in lessons if "/" in name} | {name: name for name in lessons}
    edges = [f"    {_node(names[need])} --> {_node(name)}" for name, x in lessons.items() for need in x["needs"]]
    nodes = [f'    {_node(name)}["{title(name)}"]' for name in lessons]
    graph = "\n".join(["```mermaid", "graph LR", *nodes, *edges, "```"])
    plans = []
    for plan, rows in course["timetables"].items():
        lines = [f"{when}|{', '.join(link(names[n]) for n in told)}|{what}" for when, told, what in rows]
        plans.append("\n".join([f"**{plan}**", "", "when|lessons|what", "---|---|---", *lines]))
    goals = [f"{link(name)} ({x['minutes']} min)|{' '.join(goal(name))}" for name, x in lessons.items()]
    bank = [f"{link(name)}|{x['believes']}|{x['discuss']}" for name, x in lessons.items()]
    return {
        "graph": graph,
        "timetables": "\n\n".join(plans),
        "goals": "\n".join(["lesson|after it one can …", "---|---", *goals]),
        "discussion": "\n".join(["lesson|what many believe|a question that brings it out", "---|---|---", *bank]),
    }


def title(name: str) -> str:
    """Return how a lesson is called in a table: "04 Freeze", "Rank"."""
    words = name.rpartition("/")[2].replace("_", " ")
    called = words[:3] + words[3:].capitalize() if words[0].isdigit() else words.capitalize()
    return called.replace("Pytorch", "PyTorch")


def link(name: str) -> str:
    """Return a link to a lesson from a page beside the core lessons."""
    return f"[{title(name)}]({name}.ipynb)"


def goal(name: str) -> list[str]:
    """Return what a lesson's first cell says one will be able to do."""
    head = (NOTEBOOKS / "src" / f"{name}.py").read_text(encoding="utf-8").partition("\n# %%\n")[0]
    return re.findall(r"^# - (.+)$", head, re.MULTILINE)


def _node(name: str) -> str:
    return name.rpartition("/")[2].replace("_", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
