"""`write`: results as one HTML page that needs nothing else, not even a network."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from transformer_lens.model_bridge import TransformerBridge

from coldlens.agreement.report import KernelAgreement
from coldlens.compare.report import DirectionReport
from coldlens.equivalence.report import Equivalences
from coldlens.errors import ArgumentError, DataError
from coldlens.evaluation.evaluation import Evaluation
from coldlens.files import check_writable, whole_file
from coldlens.page import sections

MARK = "coldlens-page-1"
"""In the head of each page, so that a page is replaced by a later one and other files are not."""

_SCRIPTS = ("elements.js", "chart.js", "page.js")


def write(
    path: str | Path,
    *,
    comparison: DirectionReport | None = None,
    agreement: KernelAgreement | None = None,
    checks: Equivalences | None = None,
    evaluations: Mapping[str, Sequence[Evaluation]] | None = None,
    model: TransformerBridge | None = None,
) -> Path:
    """Writes results as one HTML page, whole or not at all.

    The page holds the tables themselves, to read, to draw from and to download, and needs no
    network. A section whose result is absent is left out.

    ```python
    write("report.html", comparison=report, evaluations={"eta 5": [evaluation]}, model=model)
    ```

    Args:
        path: The file, ending in `.html`; an earlier page is replaced.
        comparison: What `compare_directions` returned.
        agreement: What `kernel_agreement` returned.
        checks: What `verify_equivalences` returned.
        evaluations: What `evaluate` returned with one layer steered, by a heading that those of a
            group share, such as `"eta 5"`: of each method one a layer.
        model: The model, whose tokenizer says what the tokens read; without it they are numbers.

    Returns:
        The file.

    Raises:
        ArgumentError: If there is no result, or they are of different models.
    """
    check_page(path)
    measured = {group: found for group, found in (evaluations or {}).items() if found}
    given = [one for one in (comparison, agreement, checks) if one is not None]
    sources = {type(one).__name__: one.about for one in given}
    sources |= {
        f"Evaluation, first of {group}": found[0].about for group, found in measured.items()
    }
    _check([*given, *(one for found in measured.values() for one in found)])
    found: dict[str, sections.Section] = {}
    if comparison is not None:
        found["directions"] = sections.directions(comparison)
    if agreement is not None:
        found["kernel"] = sections.kernel(agreement, _texts(model, agreement))
    if checks is not None:
        found["checks"] = sections.equivalences(checks)
    if measured:
        found["steering"] = sections.steering(measured)
    layers = sorted({layer for section in found.values() for layer in section["layers"]})
    html = _html({"layers": layers, **found}, sources)
    with whole_file(Path(path)) as part:
        part.write_text(html, encoding="utf-8")
    return Path(path)


def check_page(path: str | Path) -> None:
    """Checks that a page may be written to a path, before the work starts.

    Args:
        path: Where the page will go.

    Raises:
        DataError: If it cannot be written, does not end in `.html`, or is there and no earlier
            page.
    """
    target = Path(path).resolve()
    check_writable(target)
    found = ""
    if target.suffix != ".html":
        found = f"{path}, which does not end so"
    elif target.exists() and not _is_page(target):
        found = f"{path}, which holds something else"
    if found:
        raise DataError(
            expected="a new file that ends in .html, or an earlier page",
            found=found,
            fix="Choose another file",
        )


def _is_page(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return MARK in file.read(1000)
    except OSError:
        return False


def _check(
    results: Sequence[DirectionReport | KernelAgreement | Equivalences | Evaluation],
) -> None:
    models = {one.about["model_fingerprint"]: one.about["model_id"] for one in results}
    if len(models) != 1:
        raise ArgumentError(
            expected="results of one model",
            found=f"results of {', '.join(models.values())}" if models else "no result",
            fix="Pass a comparison, an agreement, checks or evaluations of one model",
        )
    for one in results:
        if isinstance(one, Evaluation) and len(one.about["layers"]) != 1:
            raise ArgumentError(
                expected="evaluations with one layer steered",
                found=repr(one),
                fix="Pass what evaluate returned with a steering and one layer",
            )


def _texts(model: TransformerBridge | None, agreement: KernelAgreement) -> dict[int, str]:
    if model is None or model.tokenizer is None:
        return {}
    lists = [ids for example in agreement.token_ids["examples"] for ids in example if ids]
    return {token: model.tokenizer.decode([token]) for token in sorted(set().union(*lists))}


def _html(data: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the page; its two hashes are of all that a browser may run or style by."""
    environment = Environment(
        loader=PackageLoader("coldlens.page", "assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    assets = files("coldlens.page") / "assets"
    style = (assets / "page.css").read_text(encoding="utf-8")
    script = "".join((assets / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return environment.get_template("page.html").render(
        mark=MARK,
        data=data,
        about=next(iter(sources.values())),
        sources=sources,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
