"""`load_examples`: examples by name, from a file, or as they are."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from coldlens.datasets.bipo import BIPO
from coldlens.datasets.caa import CAA
from coldlens.datasets.demo import demo_behaviours, load_demo
from coldlens.datasets.files import load_file
from coldlens.datasets.formats import format_named
from coldlens.datasets.names import suggestion
from coldlens.datasets.splits import check_split
from coldlens.datasets.tables import SUFFIXES
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy

_PUBLIC = {dataset.name: dataset for dataset in (CAA, BIPO)}


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

    Multiple choice (`demo/`, `caa/`) has prompts that end after the opening parenthesis and
    completions that are the letter alone: `"Question: ...\n (B) No\n\nAnswer: ("` and `"B"`.
    Free text (`demo/<behaviour>/open`, `bipo/`) has completions that begin with a space.

    A data set that is unknown, missing or unreadable is a `DataError`; another argument that is
    out of range, or does not go with the source, an `ArgumentError`.

    Args:
        source: `"demo/<behaviour>"`, `"demo/<behaviour>/open"`, `"caa/<behaviour>"`,
            `"bipo/<behaviour>"`, the path of a `.json`, `.jsonl` or `.csv` file with the fields
            `prompt`, `positive` and `negative`, or examples.
        split: `"train"`, `"validation"` or `"test"`: no question is in two of them. Examples, and
            files without a field `split`, have only `"train"`.
        n: How many to draw at random; None for all.
        seed: Seed of the draw. The splits do not depend on it.
        prompt_format: `"question"`, `"input"`, `"chat"` or `"plain"`, see
            `coldlens.datasets.formats`; None for `"question"`. Only for `caa/` and `bipo/`: other
            sources have whole prompts.
        folder: The folder that holds `caa/` and `bipo/`; None for the one that the environment
            variable `COLDLENS_DATA` names, else their files are downloaded and checked.
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
    if collection in _PUBLIC:
        return _PUBLIC[collection].load(behaviour, split, prompt_format, folder, policy)
    if collection == "demo":
        _refuse_format(prompt_format, name)
        return load_demo(behaviour, split, policy)
    raise DataError(
        expected="a data set ('demo/<behaviour>', 'caa/<behaviour>' or 'bipo/<behaviour>') "
        f"or a file that ends in {', '.join(SUFFIXES)}",
        found=repr(name),
        fix=suggestion(name, _names()),
    )


def _names() -> list[str]:
    return [f"demo/{behaviour}" for behaviour in demo_behaviours()] + [
        f"{dataset.name}/{behaviour}"
        for dataset in _PUBLIC.values()
        for behaviour in dataset.behaviours
    ]


def _refuse_format(prompt_format: str | None, name: str) -> None:
    if prompt_format is not None:
        raise ArgumentError(
            expected="prompt_format only with 'caa/<behaviour>' or 'bipo/<behaviour>'",
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
    if not 1 <= n <= len(loaded):
        raise ArgumentError(
            expected=f"n between 1 and {len(loaded)}, all that there are of {loaded.source}",
            found=f"n={n}",
            fix="Ask for fewer, or pass n=None for all",
        )
    note = f"{loaded.source}; {n} of {len(loaded)} drawn with seed {seed}"
    return replace(loaded.sample(n, seed), source=note)
