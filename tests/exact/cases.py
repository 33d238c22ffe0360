"""The table of cases: which model, which loss, which data."""

from dataclasses import dataclass
from functools import cache

import torch
import zoo
from transformer_lens.model_bridge import TransformerBridge

from coldlens.datasets.demo import load_demo
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import (
    DPO,
    ContrastiveSquaredError,
    CrossEntropy,
    NegativeCrossEntropy,
    OptionDistribution,
)
from coldlens.models.load import load_model

ARCHITECTURES = (*zoo.CONFIGS, "demo")

LOSSES = {
    "cross_entropy": CrossEntropy(),
    "cross_entropy_sum": CrossEntropy(reduction="sum"),
    "negative_cross_entropy": NegativeCrossEntropy(),
    "dpo": DPO(beta=0.7),
    "dpo_sum": DPO(beta=0.3, normalize="sum"),
    "dpo_self": DPO(reference="self"),
    "options": OptionDistribution(),
    "contrastive": ContrastiveSquaredError(),
}
"""Every loss, in every setting that changes its formula."""

LOGIT_LOSSES = tuple(name for name in LOSSES if name != "contrastive")

POLLS = (
    {"options": ((6,), (17,), (8,)), "distribution": (0.2, 0.5, 0.3)},
    {"options": ((12,), (5,)), "distribution": (1, 0)},
    {"options": ((30,), (9,), (11,), (31,)), "distribution": (0.25, 0.125, 0.5, 0.125)},
    {"options": ((25,), (26,), (14,)), "distribution": (0.6, 0, 0.4)},
)
"""Different numbers of options, given as tokens, and some that nobody chooses."""

PAIRED = (
    Example("the user asks you to", " help", " never hide the cat", **POLLS[0]),
    Example("question : stay go ?", " yes always please", " no", **POLLS[1]),
    Example("red dog", " blue bird house", " green stone", **POLLS[2]),
    Example("a user asks : two three ?", " ( A )", " ( B", **POLLS[3]),
)
"""Prompts and completions of different lengths, and answers of a group."""

DATA = {
    "paired": ExampleSet(PAIRED, name="paired"),
    "positive": ExampleSet(tuple(Example(e.prompt, e.positive) for e in PAIRED), name="positive"),
    "ids": ExampleSet(
        (
            Example((9, 4, 31), (12,), (5, 17, 8)),
            Example((1, 22, 23, 24, 25, 26), (40, 41, 42), (7, 7)),
            Example((33, 33), (10, 11), (11, 10)),
        ),
        name="ids",
    ),
}

INPUTS = ((1, 6, 7, 8, 9, 10, 11), (1, 30, 35), (12, 13, 14, 15, 16))
"""New inputs, of different lengths."""


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    model: str
    loss: str
    data: str

    def __str__(self) -> str:
        """Returns the case's name in reports."""
        return f"{self.model}-{self.loss}-{self.data}"


CASES = (
    *(Case(model, loss, "paired") for model in ARCHITECTURES for loss in LOSSES),
    *(Case(model, "cross_entropy", "positive") for model in ARCHITECTURES),
    *(Case(model, "dpo", "ids") for model in ARCHITECTURES),
)


@cache
def model_of(name: str, dtype: torch.dtype = torch.float64, std: float = zoo.WILD):
    """Builds a model once for all tests, which must leave it as it is."""
    if name != "demo":
        return zoo.bridge(name, seed=sum(map(ord, name)), dtype=dtype, std=std)
    return load_model("demo", dtype=dtype)


@cache
def data_of(name: str, data: str) -> ExampleSet:
    """Returns a data set in words that the model knows."""
    if name != "demo" or data == "ids":
        return DATA[data]
    letters, texts = load_demo("refusal", "train"), load_demo("refusal/open", "train")
    chosen = tuple(
        Example(e.prompt, e.positive, e.negative, **poll)
        for e, poll in zip((*letters[:1], *texts[:2]), POLLS, strict=False)
    )
    if data == "positive":
        chosen = tuple(Example(e.prompt, e.positive) for e in chosen)
    return ExampleSet(chosen, name=data)


def layers_of(model: TransformerBridge) -> tuple[int, ...]:
    """Returns all layers of a model."""
    return tuple(range(len(model.blocks)))
