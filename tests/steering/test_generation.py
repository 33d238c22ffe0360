"""Generation: cached = uncached, batched = one by one, at every choice of positions."""

import pytest
import torch
import zoo
from torch import Tensor

from coldlens.directions import ColdFD, ColdJVP, DiffMean

ARCHITECTURES = ["llama", "gpt2", "gemma3", "neox"]
PROMPTS = ["red blue green", "the cat asks you to help a dog", "one"]
POSITIONS = ["prompt", "last_prompt", "all", "generated", "first_generated", (1, None)]
NEW = 5


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest):
    return zoo.bridge(request.param)


@pytest.fixture(scope="module")
def steerings(model, examples):
    methods = {"DiffMean": DiffMean(), "ColdJVP": ColdJVP(), "ColdFD": ColdFD(epsilon=0.05)}
    return {name: method.fit(model, examples) for name, method in methods.items()}


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


@pytest.mark.parametrize("positions", POSITIONS, ids=str)
@pytest.mark.parametrize("kind", ["DiffMean", "ColdJVP", "ColdFD"])
def test_the_cache_changes_nothing(model, steerings, kind, positions):
    steering = steerings[kind]
    for prompt in PROMPTS[:2]:
        found = []
        for cached in (True, False):
            with steering.apply(model, layer=[0, 1], eta=1.0, positions=positions):
                found.append(_generate(model, prompt, use_past_kv_cache=cached))
        assert torch.equal(*found)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("positions", POSITIONS[:-1], ids=str)
@pytest.mark.parametrize("kind", ["DiffMean", "ColdJVP"])
def test_a_batch_equals_each_prompt_alone(model, steerings, kind, positions, cached):
    steering = steerings[kind]
    with steering.apply(model, layer=1, eta=1.0, positions=positions):
        together = _generate(model, PROMPTS, use_past_kv_cache=cached)
    for row, prompt in enumerate(PROMPTS):
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
def test_positions_are_the_columns_they_name(model, steerings, positions, first, last):
    steering, ids = 6.0 * steerings["DiffMean"].normalized(), torch.tensor([[1, 35, 36, 37]])
    with steering.apply(model, layer=1, positions=positions):
        found = _generate(model, ids)[0, 4:].tolist()
    assert found == _literal(model, ids, steering.vector(1), first, last)


def test_generated_tokens_take_the_displacement_of_the_last_prompt_token(model, steerings):
    steering, ids = steerings["ColdJVP"], torch.tensor([[1, 35, 36, 37]])
    last = steering.displacement(ids)[1][0, -1]
    with steering.apply(model, layer=1, eta=1.5, positions="generated"):
        found = _generate(model, ids)[0, 4:].tolist()
    assert found == _literal(model, ids, 1.5 * last, 4, None)


def test_steering_changes_what_is_generated(model, steerings):
    """Counter-case for the comparisons above."""
    ids = torch.tensor([[1, 35, 36, 37]])
    plain = _generate(model, ids)[0, 4:].tolist()
    changed = []
    for sign in (20.0, -20.0):
        steering = sign * steerings["DiffMean"].normalized()
        with steering.apply(model, layer=1, positions="all"):
            changed.append(_generate(model, ids)[0, 4:].tolist())
    assert any(tokens != plain for tokens in changed)
    assert _generate(model, ids)[0, 4:].tolist() == plain
