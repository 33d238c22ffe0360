"""A Sphinx extension: formulas as MathML, and Markdown in docstrings.

Browsers draw MathML themselves, so that the pages need no script from elsewhere.
"""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_APPLIED = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<mo[^>]*>\()")
_BAR = re.compile(r'<mo( class="math(open|close)")?>(?=‖)')
_FENCE = re.compile(r"^(\s*)```(\w*)$")
_TYPE = re.compile(r"^(\s*:vartype \w+:) (.+)$")
_CODE = re.compile(r"(?<![`:])`([^`]+)`(?![`_])")
_STAR = re.compile(r"(?<=, )\*(?=\w)")  # in a shape, where it is no emphasis


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers both; Sphinx calls it.

    Args:
        app: The application.

    Returns:
        That pages may be read and written in parallel.
    """
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-docstring", _markdown)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _mathml(text: str, *, as_block: bool = False) -> str:
    """Returns a formula as MathML: a gap after an operator's name, and norms with even bars."""
    found = _APPLIED.sub('<mspace width="0.17em"/>', tex2mathml(text, as_block=as_block))
    return _BAR.sub('<mo stretchy="false">', found)


def _markdown(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turns fenced code and tables of Markdown into reStructuredText, and types into code."""
    found: list[str] = []
    fence: str | None = None
    table: list[list[str]] = []
    for line in [*lines, ""]:
        if fence is None and line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        found += _table(table)
        table = []
        mark = _FENCE.match(line)
        if mark is None:
            found.append(_plain(line) if fence is None else f"    {line}")
        elif fence is None:
            fence = mark[1]
            found += ["", f"{fence}.. code-block:: {mark[2] or 'text'}", ""]
        else:
            fence = None
            found.append("")
    lines[:] = found


def _plain(line: str) -> str:
    typed = _TYPE.sub(r"\1 ``\2``", line)
    return _CODE.sub(r"``\1``", _STAR.sub(r"\*", typed))


def _table(rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    found = [".. list-table::", "    :header-rows: 1", ""]
    for row in rows:
        if set("".join(row)) != {"-"}:
            found += [
                f"    {'* ' if place == 0 else '  '}- {cell}" for place, cell in enumerate(row)
            ]
    return [*found, ""]
