"""Generation: cached = uncached, batched = one by one, at every choice of positions."""

from functools import cache
from pathlib import Path

import pytest
import torch
import zoo
from steering.conftest import EXAMPLES
from torch import Tensor

from coldlens.datasets import load_examples
from coldlens.directions import ColdFD, ColdJVP, DiffMean
from coldlens.errors import SteeringError
from coldlens.models.forward import residuals
from coldlens.models.load import load_model

TINY = ["llama", "gpt2", "gemma2", "gemma3", "neox"]
STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
MODELS = [
    *TINY,
    "demo",
    pytest.param(
        "stories260K", marks=pytest.mark.skipif(not STORIES.is_dir(), reason=f"no {STORIES}")
    ),
]
METHODS = {"DiffMean": DiffMean(), "ColdJVP": ColdJVP(), "ColdFD": ColdFD(epsilon=0.05)}
POSITIONS = ["prompt", "last_prompt", "all", "generated", "first_generated", (1, None)]
ONE_EACH = list(zip([*METHODS, *METHODS], POSITIONS, strict=True))
"""Every position with one of the methods; on the first model each goes with each."""
NEW = 5


@cache
def model_of(name):
    if name in TINY:
        return zoo.bridge(name)
    return load_model("demo" if name == "demo" else STORIES)


@cache
def steering_of(name, kind):
    examples = load_examples("demo/refusal", n=3) if name == "demo" else EXAMPLES
    return METHODS[kind].fit(model_of(name), examples)


def prompts_of(name):
    if name == "demo":
        return [example.prompt for example in load_examples("demo/refusal/open", n=3)]
    return ["red blue green", "the cat asks you to help a dog", "one"]


def strong(name, share=1.0):
    """A static steering as long as that share of the residual stream."""
    model, ids = model_of(name), torch.tensor([[1, 35, 36, 37]])
    with torch.no_grad():
        streams, _ = residuals(model, ids, torch.ones_like(ids, dtype=torch.bool), [1])
    length = streams[1].norm(dim=-1).mean().item()
    return share * length * steering_of(name, "DiffMean").normalized()


def cases(values):
    """On the first model every method with every value, on the others one for each position."""
    every = [(kind, value) for kind in METHODS for value in values]
    rest = [(kind, value) for kind, value in ONE_EACH if value in values]
    return [
        pytest.param(*model.values, *case, marks=model.marks, id=f"{model.values[0]}-{case}")
        for model in (one if hasattr(one, "marks") else pytest.param(one) for one in MODELS)
        for case in (every if model.values[0] == TINY[0] else rest)
    ]


def _generate(model, prompt, **settings) -> Tensor:
    return model.generate(
        prompt,
        max_new_tokens=NEW,
        do_sample=False,
        stop_at_eos=False,
        return_type="tokens",
        verbose=False,
        **settings,
    )


@pytest.mark.parametrize(("name", "kind", "positions"), cases(POSITIONS))
def test_the_cache_changes_nothing(name, kind, positions):
    model, steering = model_of(name), steering_of(name, kind)
    for prompt in prompts_of(name)[:2]:
        found = []
        for cached in (True, False):
            with steering.apply(model, layer=[0, 1], eta=1.0, positions=positions):
                found.append(_generate(model, prompt, use_past_kv_cache=cached))
        assert torch.equal(*found)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize(("name", "kind", "positions"), cases(POSITIONS[:-1]))
def test_a_batch_equals_each_prompt_alone(name, kind, positions, cached):
    model, steering, prompts = model_of(name), steering_of(name, kind), prompts_of(name)
    with steering.apply(model, layer=1, eta=1.0, positions=positions):
        together = _generate(model, prompts, use_past_kv_cache=cached)
    for row, prompt in enumerate(prompts):
        with steering.apply(model, layer=1, eta=1.0, positions=positions):
            alone = _generate(model, prompt, use_past_kv_cache=cached)
        assert together[row, -NEW:].tolist() == alone[0, -NEW:].tolist()


def _literal(model, ids: Tensor, vector: Tensor, first: int, last: int | None) -> list[int]:
    """Greedy decoding by whole forwards, the vector added at columns first … last."""
    hook = ("blocks.1.hook_resid_post", lambda value, hook: value + _at(value, vector, first, last))
    made = []
    for _ in range(NEW):
        with torch.no_grad():
            logits = model.run_with_hooks(ids, fwd_hooks=[hook])
        made.append(int(logits[0, -1].argmax()))
        ids = torch.cat([ids, torch.tensor([[made[-1]]])], dim=1)
    return made


def _at(value: Tensor, vector: Tensor, first: int, last: int | None) -> Tensor:
    change = torch.zeros_like(value)
    change[:, first:last] = vector
    return change


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("positions", "first", "last"),
    [
        ("prompt", 0, 4),
        ("last_prompt", 3, 4),
        ("all", 0, None),
        ("generated", 4, None),
        ("first_generated", 4, 5),
    ],
)
def test_positions_are_the_columns_they_name(name, positions, first, last):
    model, steering, ids = model_of(name), strong(name), torch.tensor([[1, 35, 36, 37]])
    with steering.apply(model, layer=1, positions=positions):
        found = _generate(model, ids)[0, 4:].tolist()
    assert found == _literal(model, ids, steering.vector(1), first, last)


@pytest.mark.parametrize("name", MODELS)
def test_generated_tokens_take_the_displacement_of_the_last_prompt_token(name):
    model, ids = model_of(name), torch.tensor([[1, 35, 36, 37]])
    steering = steering_of(name, "ColdJVP")
    last = steering.displacement(ids)[1][0, -1]
    with steering.apply(model, layer=1, eta=1.5, positions="generated"):
        found = _generate(model, ids)[0, 4:].tolist()
    assert found == _literal(model, ids, 1.5 * last, 4, None)


@pytest.mark.parametrize("name", MODELS)
def test_a_hook_that_does_not_fire_while_generating_is_an_error(name, monkeypatch):
    model, ids, steering = model_of(name), torch.tensor([[1, 35, 36, 37]]), strong(name)
    bare = model.blocks[1].original_component  # the Hugging Face block, without hook points
    monkeypatch.setitem(model.blocks._modules, "1", bare)
    with (
        pytest.raises(SteeringError, match=r"blocks.1.hook_resid_post .*; found 0 firings"),
        steering.apply(model, layer=1),
    ):
        _generate(model, ids)


@pytest.mark.parametrize("name", MODELS)
def test_steering_changes_what_is_generated(name):
    """Counter-case for the comparisons above."""
    model, ids = model_of(name), torch.tensor([[1, 35, 36, 37]])
    plain = _generate(model, ids)[0, 4:].tolist()
    changed = []
    for sign in (2.0, -2.0):
        with strong(name, sign).apply(model, layer=1, positions="all"):
            changed.append(_generate(model, ids)[0, 4:].tolist())
    assert any(tokens != plain for tokens in changed)
    assert _generate(model, ids)[0, 4:].tolist() == plain
