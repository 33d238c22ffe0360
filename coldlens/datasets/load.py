"""`load_examples`: examples by name, from a file, or as they are."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from coldlens.datasets.axbench import load_axbench
from coldlens.datasets.bipo import BIPO, BIPO_CHOICE
from coldlens.datasets.caa import CAA, OPEN_QUESTIONS, SIDE_EFFECTS
from coldlens.datasets.demo import demo_names, load_demo
from coldlens.datasets.files import load_file
from coldlens.datasets.formats import format_named
from coldlens.datasets.names import check_name, suggestion
from coldlens.datasets.opinions import load_opinions
from coldlens.datasets.splits import check_number, check_split
from coldlens.datasets.tables import SUFFIXES
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy

_PUBLIC = {
    name: dataset for dataset in (CAA, *SIDE_EFFECTS, BIPO, BIPO_CHOICE) for name in dataset.names()
}
_SEARCHED = {"opinions_qa": load_opinions, "axbench": load_axbench}
"""Collections whose names are found in their files."""


def load_examples(
    source: str | os.PathLike[str] | Iterable[Example],
    split: str = "train",
    n: int | None = None,
    seed: int = 0,
    *,
    prompt_format: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    policy: TokenPolicy | None = None,
) -> ExampleSet:
    r"""Loads examples of a behaviour.

    ```python
    load_examples("demo/sycophancy", n=20)
    load_examples("caa/refusal", split="test", prompt_format="chat")
    load_examples("mine.jsonl")  # one {"prompt": ..., "positive": ..., "negative": ...} a line
    ```

    | source | examples |
    |---|---|
    | `demo/<behaviour>`, `caa/<behaviour>` | pairs of letters |
    | `demo/<behaviour>/open`, `bipo/<behaviour>` | pairs of texts |
    | `demo/groups/<group>`, `opinions_qa/<ATTRIBUTE>/<group>` | answers of a group to polls |
    | `axbench/<concept>` | texts that show the concept, without negatives |
    | `caa/mmlu`, `caa/truthfulqa` | right and wrong letters, `"test"` only |
    | `bipo/<behaviour>/choice` | the pairs of the test as letters, `"test"` only |
    | a path that ends in `.json`, `.jsonl` or `.csv` | see `coldlens.datasets.files` |

    Letters follow prompts that end after the opening parenthesis, and are the completion alone:
    `"Question: ...\n (B) No\n\nAnswer: ("` and `"B"`. Texts begin with a space.

    A data set that is unknown, missing or unreadable is a `DataError`; another argument that is
    out of range, or does not go with the source, an `ArgumentError`.

    Args:
        source: A name or path as above, or examples.
        split: `"train"`, `"validation"` or `"test"`: no question is in two of them. Examples, and
            files without a field `split`, have only `"train"`.
        n: How many to draw at random; None for all.
        seed: Seed of the draw. The splits do not depend on it.
        prompt_format: `"question"`, `"input"`, `"chat"` or `"plain"`, see
            `coldlens.datasets.formats`; None for `"question"`. Not for `demo/`, files and
            examples, which have whole prompts.
        folder: The folder that holds `caa/`, `bipo/`, `opinions_qa/` and `axbench/`; None for the
            one that the environment variable `COLDLENS_DATA` names, else their files are
            downloaded and checked, except `opinions_qa/`, which states no licence.
        policy: How strings become tokens; None for the source's own.

    Returns:
        The examples; `source` says which files, which rows of them, and what was left out.
    """
    check_split(split)
    if prompt_format is not None:
        format_named(prompt_format)
    if isinstance(source, str | os.PathLike):
        loaded = _named(os.fspath(source), split, prompt_format, folder, policy)
    else:
        loaded = _given(source, split, prompt_format, policy)
    return loaded if n is None else _drawn(loaded, n, seed)


def _named(
    name: str,
    split: str,
    prompt_format: str | None,
    folder: str | os.PathLike[str] | None,
    policy: TokenPolicy | None,
) -> ExampleSet:
    collection, _, behaviour = name.partition("/")
    if Path(name).suffix in SUFFIXES:
        _refuse_format(prompt_format, name)
        return load_file(Path(name), split, policy)
    if name in _PUBLIC:
        return _PUBLIC[name].load(name, split, prompt_format, folder, policy)
    if collection in _SEARCHED:
        return _SEARCHED[collection](name, split, prompt_format, folder, policy)
    if collection == "demo":
        _refuse_format(prompt_format, name)
        return load_demo(behaviour, split, policy)
    if name in OPEN_QUESTIONS:
        raise DataError(
            expected="a data set of examples",
            found=f"{name!r}, which is questions without answers",
            fix=f"Read them with coldlens.datasets.load_prompts({name!r})",
        )
    same = [each for each in _PUBLIC if each.startswith(f"{collection}/")]
    if same:
        check_name(name, same, f"the behaviours of {collection}")
    raise DataError(
        expected="a data set ('demo/<behaviour>', 'demo/groups/<group>', 'caa/<behaviour>', "
        "'bipo/<behaviour>', 'opinions_qa/<ATTRIBUTE>/<group>' or 'axbench/<concept>') "
        f"or a file that ends in {', '.join(SUFFIXES)}",
        found=repr(name),
        fix=suggestion(name, [*(f"demo/{each}" for each in demo_names()), *_PUBLIC]),
    )


def _refuse_format(prompt_format: str | None, name: str) -> None:
    if prompt_format is not None:
        raise ArgumentError(
            expected="prompt_format only with caa/, bipo/, opinions_qa/ and axbench/",
            found=f"prompt_format={prompt_format!r} with {name}, where prompts are whole",
            fix="Leave prompt_format out",
        )


def _given(
    examples: Iterable[Example], split: str, prompt_format: str | None, policy: TokenPolicy | None
) -> ExampleSet:
    _refuse_format(prompt_format, "examples that are passed in")
    if split != "train":
        raise ArgumentError(
            expected="split='train' with examples that are passed in, for they have no splits",
            found=f"split={split!r}",
            fix="Pass the examples of that split, and leave split out",
        )
    loaded = ExampleSet.of(examples)
    return loaded if policy is None else replace(loaded, policy=policy)


def _drawn(loaded: ExampleSet, n: int, seed: int) -> ExampleSet:
    check_number(n, len(loaded), loaded.source)
    note = f"{loaded.source}; {n} of {len(loaded)} drawn with seed {seed}"
    return replace(loaded.sample(n, seed), source=note)
