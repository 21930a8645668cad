"""What reading a lesson's source can tell, before any kernel starts."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[1] / "notebooks" / "src").rglob("*.py"))


def overwritten(source: str) -> list[str]:
    """Return every name that a live control's function reads and a later cell binds anew."""
    tree = ast.parse(source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}

    def reads(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        if name in seen or name not in functions:
            return set()
        inside = list(ast.walk(functions[name]))
        own = {node.arg for node in inside if isinstance(node, ast.arg)}
        own |= {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        loads = {node.id for node in inside if isinstance(node, ast.Name)} - own
        return loads.union(*(reads(other, seen | {name}) for other in loads))

    found = []
    for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
        if getattr(call.func, "attr", "") != "explore" or not isinstance(call.args[0], ast.Name):
            continue
        drawn = call.args[0].id
        for node in [node for node in tree.body if node.lineno > call.lineno]:
            inside = [] if isinstance(node, ast.FunctionDef) else list(ast.walk(node))
            bound = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            bound |= {node.name} if isinstance(node, ast.FunctionDef) else set()
            found += [f"{drawn} reads {name}, bound anew in line {node.lineno}" for name in bound & reads(drawn)]
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_what_a_live_control_reads_is_not_overwritten_by_a_later_cell(source):
    assert overwritten(source.read_text(encoding="utf-8")) == []


def test_a_name_that_a_later_cell_takes_from_a_live_control_is_found_through_other_functions():
    lesson = "a = 1\ndef f():\n    return a\ndef draw(k):\n    a_k = f() + k\n    return a_k\n\nw.explore(draw)\n"
    assert overwritten(lesson + "a_k, k = 1, 2\n") == []
    assert overwritten(lesson + "for b, (a, _) in []:\n    pass\n") == ["draw reads a, bound anew in line 9"]
    assert overwritten(lesson + "def f():\n    return 2\n") == ["draw reads f, bound anew in line 9"]
