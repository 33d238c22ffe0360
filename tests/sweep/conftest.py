"""A tiny model in a folder, two behaviours in words that it knows, and unrelated questions."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import zoo
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import DPO, CrossEntropy
from coldlens.sweep import Splits, SweepResult, sweep

THINGS = "red blue green one two three four cat dog bird tree house river stone".split()
FRAMES = ("question : {} {} ? answer : (", "the user asks you to {} the {} (", "{} , {} : (")
LOSSES = {"paired": DPO(), "positive-only": CrossEntropy()}
METHODS = ("DiffMean", "ColdKernel", "ColdFD", "FineTune", "InContext", "Random")


def questions(name: str, start: int, count: int, positive: str = " A", negative: str = " B"):
    """Returns distinct questions, whose prompts differ in length."""
    pairs = itertools.islice(itertools.permutations(THINGS, 2), start, start + count)
    examples = tuple(
        Example(FRAMES[place % 3].format(*pair), *answers)
        for place, pair in enumerate(pairs)
        for answers in [(positive, negative) if place % 2 else (negative, positive)]
    )
    return ExampleSet(examples, name=name)


def splits_of(name: str, start: int = 0) -> Splits:
    """Returns the splits of a made-up behaviour."""
    parts = [questions(name, start + 20 * place, size) for place, size in enumerate((12, 5, 7))]
    return Splits(*parts)


SPLITS = {"first": splits_of("first"), "second": splits_of("second", 70)}
UNRELATED = questions("unrelated", 140, 6)
SETTINGS: dict[str, Any] = dict(
    methods=METHODS,
    layers=(0, 2),
    etas=(0.5, 2),
    sizes=(6,),
    seeds=(0, 1),
    losses=LOSSES,
    capability=UNRELATED,
    batch_size=4,
)


def run(model: Any, splits: Any = None, **changes: Any) -> SweepResult:
    """Runs a small sweep."""
    return sweep(model, SPLITS if splits is None else splits, **(SETTINGS | changes))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, as workers load it."""
    path = tmp_path_factory.mktemp("models") / "tiny-llama"
    zoo.hf_model("llama").save_pretrained(path)
    zoo.tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def bridge() -> TransformerBridge:
    """The same architecture in float64, for comparisons."""
    import torch

    return zoo.bridge("llama", dtype=torch.float64)


@pytest.fixture(scope="session")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """An uninterrupted sweep in one process."""
    return run(folder, folder=tmp_path_factory.mktemp("sweeps") / "whole")
