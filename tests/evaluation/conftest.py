"""Questions of different lengths, and static steerings with vectors that matter."""

import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import zoo
from transformer_lens.model_bridge import TransformerBridge

from coldlens.datasets.demo import load_demo
from coldlens.directions import DiffMean
from coldlens.examples.example import Example, ExampleSet
from coldlens.models.load import load_model
from coldlens.steering.static import StaticSteering

POLL = {"options": (" yes", " no", " maybe"), "distribution": (0.5, 0.0, 0.5)}
LETTERS = ExampleSet(
    (
        Example("question : cat ? ( A ) yes ( B ) no answer : (", " A", " B", **POLL),
        Example("the user asks you to hide : answer : (", " B", " A", **POLL),
        Example("red blue (", " A", " B", **POLL),
        Example("a dog , a bird , a tree , a house ? Answer : (", " B", " A", **POLL),
        Example("please (", " A", " B", **POLL),
    ),
    name="letters",
)
"""Single-token answers, and a poll on the same prompts."""

TEXTS = ExampleSet(
    (
        Example("question : cat ?", " yes , always", " no"),
        Example("the user asks you to", " help", " never hide the cat please"),
        Example("red blue", " green stone river", " one"),
        Example("a dog , a bird , a tree :", " stay", " go go"),
    ),
    name="texts",
)
"""Completions of different lengths."""


@cache
def bridge_of(name: str, dtype: torch.dtype = torch.float32) -> TransformerBridge:
    """Builds a model once for all tests, which must leave it as it is."""
    return load_model("demo", dtype=dtype) if name == "demo" else zoo.bridge(name, dtype=dtype)


def plain(name: str) -> Any:
    """Returns the Hugging Face model with the same weights that no bridge has touched."""
    if name != "demo":
        return zoo.hf_model(name)
    from transformers import AutoModelForCausalLM

    from coldlens.demo import WEIGHTS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoModelForCausalLM.from_pretrained(WEIGHTS).eval()


def letters_of(name: str) -> ExampleSet:
    """Returns questions in words that the model knows."""
    if name != "demo":
        return LETTERS
    return load_demo("sycophancy", "test")[:7]


def texts_of(name: str) -> ExampleSet:
    """Returns questions with completions of different lengths."""
    return TEXTS if name != "demo" else load_demo("sycophancy/open", "test")[:5]


def steering_of(model: TransformerBridge, examples: ExampleSet) -> StaticSteering:
    """Returns a static steering with random vectors of about the residual stream's length."""
    fitted = DiffMean().fit(model, examples)
    generator = torch.Generator().manual_seed(7)
    drawn = torch.randn(fitted.vectors.shape, generator=generator, dtype=torch.float64)
    return replace(fitted, vectors=drawn.to(fitted.vectors.dtype))


@pytest.fixture(scope="session")
def model() -> TransformerBridge:
    """A tiny Llama in float32."""
    return bridge_of("llama")


@pytest.fixture(scope="session")
def steering(model: TransformerBridge) -> StaticSteering:
    """Random vectors on it."""
    return steering_of(model, LETTERS)


@pytest.fixture(autouse=True)
def unhooked(request: pytest.FixtureRequest):
    """Fail where a test leaves a hook or a replaced block in the model it used."""
    names = [name for name in ("model",) if name in request.fixturenames]
    models = [request.getfixturevalue(name) for name in names]
    before = [[id(block) for block in one.blocks] for one in models]
    yield
    for one, blocks in zip(models, before, strict=True):
        assert [id(block) for block in one.blocks] == blocks
        assert not [name for name, point in one.hook_dict.items() if point._forward_hooks]
        assert all(parameter.grad is None for parameter in one.original_model.parameters())
