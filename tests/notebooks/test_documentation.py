"""The pages name what there is: methods, losses, checks, architectures, public names, messages."""

import re
from pathlib import Path

import pytest
import zoo

import coldlens
from coldlens.cli.main import COMMANDS
from coldlens.equivalence import contrast, kernel_blocks, kernel_sum, preference, steps, trained
from coldlens.equivalence.rows import Check


def _page(docs: Path, name: str) -> str:
    return (docs / name).read_text()


def test_every_public_name_is_in_the_reference(docs):
    text = "".join(path.read_text() for path in (docs / "api").glob("*.md"))
    listed = set(re.findall(r"\.\. (?!automodule)[\w:]+:: coldlens\.(\w+)$", text, re.MULTILINE))
    assert listed == set(coldlens.__all__)


def test_every_method_loss_and_metric_has_its_formula(docs):
    text = _page(docs, "mathematics.md")
    losses = (
        "CrossEntropy",
        "NegativeCrossEntropy",
        "DPO",
        "ContrastiveSquaredError",
        "OptionDistribution",
    )
    for name in (*coldlens.METHODS, *losses):
        assert re.search(rf"`{name}[`(]", text), name


def test_every_check_is_explained(docs):
    modules = (contrast, kernel_blocks, kernel_sum, preference, steps, trained)
    checks = {value.name for m in modules for value in vars(m).values() if isinstance(value, Check)}
    checks |= {check.name for check in steps.LIMITS.values()}
    assert len(checks) == 10
    for page in ("mathematics.md", "../notebooks/03_unified_perspective.py"):
        rows = set(re.findall(r"^(?:# )?\| (E\d+) \|", _page(docs, page), re.MULTILINE))
        assert rows == checks, page


def test_every_architecture_is_listed(docs):
    rows = re.findall(r"^\| [\w .-]+ \| `(\w+)` \|", _page(docs, "models.md"), re.MULTILINE)
    assert rows == list(zoo.CONFIGS)


def test_every_message_is_one_that_the_package_gives(docs):
    table = _page(docs, "errors.md").split("## Messages")[1]
    fragments = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(fragments) > 10
    code = "".join(path.read_text() for path in Path(coldlens.__file__).parent.rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)  # strings that go on in the next line
    assert not [fragment for fragment in fragments if fragment not in joined]


def test_every_command_is_listed_with_its_docstring(docs):
    rows = re.findall(
        r"^\| `coldlens (\w+)` \| (.+) \|$", _page(docs, "command-line.md"), re.MULTILINE
    )
    assert dict(rows) == {name: kind.__doc__.splitlines()[0] for name, kind in COMMANDS.items()}


def test_every_error_class_is_listed(docs):
    classes = set(re.findall(r"^\| `(\w+Error)` \|", _page(docs, "errors.md"), re.MULTILINE))
    assert classes == {n for n in coldlens.__all__ if n.endswith("Error")} - {
        "ColdlensError",
        "ContrastiveSquaredError",
    }


@pytest.mark.parametrize("folder", ["docs", "notebooks"])
def test_nothing_is_loaded_from_elsewhere(docs, folder):
    for path in (docs.parent / folder).glob("*.py"):
        assert "http" not in path.read_text(), path
    assert "intersphinx" not in _page(docs, "conf.py")
