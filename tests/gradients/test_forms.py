"""The forms of a gradient: factored is dense, low rank is as far from it as it says."""

from dataclasses import replace

import pytest
import torch
import zoo
from exact.cases import CASES, DATA, INPUTS, LOSSES, data_of, model_of
from exact.closeness import assert_close, assert_far, relative_error
from exact.tolerances import EXACT, SINGLE

from coldlens.capture import collect
from coldlens.datasets import load_examples
from coldlens.directions import ColdFD, ColdJVP, FineTune
from coldlens.errors import ArgumentError, ModelError
from coldlens.examples.batch import pad
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.tokens import encode
from coldlens.gradients import Factored, inner, norm, recognised
from coldlens.losses import DPO, CrossEntropy
from coldlens.models.parameters import parameters
from coldlens.references import finite_difference, parameter_gradient
from coldlens.steering.steering import Steering

TINY = [name for name in dict.fromkeys(case.model for case in CASES) if name != "demo"]
TOKENS, MASK = pad(INPUTS, side="left")
METHODS = {
    "tangent": lambda step, form: ColdJVP(LOSSES["dpo"], gradient=form),
    "forward": lambda step, form: ColdFD(LOSSES["dpo"], step, gradient=form),
    "central": lambda step, form: ColdFD(LOSSES["dpo"], step, "central", gradient=form),
}


def flat(found):
    return torch.cat([values[MASK] for values in found.values()])


def large_step(model, examples):
    """A step of a tenth of the parameters' norm: the formula is exact for any."""
    g = ColdJVP(LOSSES["dpo"]).fit(model, examples).direction
    return 0.1 * norm({n: p.detach() for n, p in model.original_model.named_parameters()}) / norm(g)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
@pytest.mark.parametrize("name", TINY)
def test_factored_is_dense(name, dtype, bound, kind):
    model, examples = model_of(name, dtype, 0.12), data_of(name, "paired")
    step = large_step(model, examples)
    dense, factored = (
        METHODS[kind](step, form).fit(model, examples, batch_size=3)
        for form in ("dense", "factored")
    )
    assert dense.direction.keys() == factored.direction.keys()
    matrices = [n for n, part in factored.direction.items() if isinstance(part, Factored)]
    assert set(matrices) == {n for n, part in dense.direction.items() if part.ndim == 2}
    found, expected = factored.displacement(TOKENS, MASK), dense.displacement(TOKENS, MASK)
    assert_close(flat(found), flat(expected), bound, f"{kind} of {name}")
    largest = max(matrices, key=lambda n: dense.direction[n].norm())
    less = {n: part for n, part in factored.direction.items() if n != largest}
    fewer = replace(factored, direction=less)
    # Counter-case: without one matrix the displacement is another.
    assert_far(flat(fewer.displacement(TOKENS, MASK)), flat(expected), 1e-3, "one less")


@pytest.mark.parametrize("case", [c for c in CASES if c.loss != "contrastive"], ids=str)
def test_every_loss(case):
    model, examples = model_of(case.model), data_of(case.model, case.data)
    loss = LOSSES[case.loss]
    dense, factored = (
        ColdJVP(loss, gradient=form).fit(model, examples, batch_size=3).direction
        for form in ("dense", "factored")
    )
    size = norm(dense)
    for name, part in factored.items():
        whole = part.dense() if isinstance(part, Factored) else part
        assert (whole - dense[name]).norm() <= EXACT * size, name
    assert abs(norm(factored) - size) <= EXACT * size
    assert abs(inner(factored, dense) - size**2) <= EXACT * size**2


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_against_the_difference_of_two_models(name):
    model, examples = model_of(name), data_of(name, "paired")
    steering = ColdFD(LOSSES["dpo"], 0.01, gradient="factored").fit(model, examples)
    g = parameter_gradient(model, encode(model, examples), LOSSES["dpo"])
    expected = finite_difference(model, INPUTS[0], g, 0.01)
    found = steering.displacement(torch.tensor([INPUTS[0]]))
    for layer, values in expected.items():
        assert_close(found[layer][0], values, EXACT, f"layer {layer}")


def test_only_what_is_upstream_moves():
    model, examples = model_of("llama"), data_of("llama", "paired")
    shallow = ColdJVP(gradient="factored").fit(model, examples, 0)
    assert not any("layers.1" in name or "layers.2" in name for name in shallow.direction)
    whole = ColdJVP(gradient="factored").fit(model, examples)
    found, expected = shallow.displacement(TOKENS, MASK)[0], whole.displacement(TOKENS, MASK)[0]
    assert_close(found, expected, EXACT, "layer 0")


def test_a_prompt_that_both_completions_share_is_kept_once():
    model, examples = model_of("llama"), data_of("llama", "paired")
    tokens = encode(model, examples)
    direction = ColdJVP(DPO(), gradient="factored").fit(model, examples).direction
    # The last token of a sequence is read by no loss and no other token.
    kept = sum(len(e.prompt) + len(e.positive) + len(e.negative) - 2 for e in tokens)
    assert direction["model.layers.0.mlp.up_proj.weight"].rank == kept
    layer = "model.layers.0.self_attn"
    parts = [direction[f"{layer}.{kind}_proj.weight"] for kind in "qkv"]
    assert len({part.right.data_ptr() for part in parts}) == 1, "inputs are shared"


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_half_precision_is_computed_in_single(name):
    model, examples = zoo.bridge(name, dtype=torch.bfloat16, std=0.12), data_of(name, "paired")
    dense, factored = (
        ColdJVP(gradient=form).fit(model, examples) for form in ("dense", "factored")
    )
    assert any(isinstance(part, Factored) for part in factored.direction.values())
    found, expected = factored.displacement(TOKENS, MASK), dense.displacement(TOKENS, MASK)
    assert_close(flat(found), flat(expected), SINGLE, name)


class Doubled(torch.nn.Linear):
    """A map whose output is not its weight times its input."""

    def forward(self, inputs):
        """Returns twice the product."""
        return 2 * super().forward(inputs)


def test_a_module_that_is_no_linear_map_stays_a_tensor():
    model, examples = zoo.bridge("llama", dtype=torch.float64), data_of("llama", "paired")
    name = "model.layers.1.mlp.up_proj.weight"
    assert name in {call.place.name for call in recognised(model, TOKENS[:1])}
    parameters(model)[name].slots[0][0].__class__ = Doubled
    assert name not in {call.place.name for call in recognised(model, TOKENS[:1])}
    dense, factored = (
        ColdJVP(gradient=form).fit(model, examples) for form in ("dense", "factored")
    )
    assert isinstance(factored.direction[name], torch.Tensor)
    found, expected = factored.displacement(TOKENS, MASK), dense.displacement(TOKENS, MASK)
    assert_close(flat(found), flat(expected), EXACT, "one tensor among products")


@pytest.mark.parametrize("form", ["factored", "low_rank"])
def test_saved_and_loaded_in_its_form(tmp_path, form):
    model, examples = model_of("gpt2"), data_of("gpt2", "paired")
    for method in (ColdJVP(gradient=form), ColdFD(epsilon=0.01, gradient=form)):
        steering = method.fit(model, examples)
        steering.save(tmp_path / "saved.safetensors")
        again = Steering.load(tmp_path / "saved.safetensors", model)
        assert again.settings() == steering.settings()
        assert again.truncation == steering.truncation
        assert len(again.truncation) == (3 if form == "low_rank" else 0)
        for name, part in steering.direction.items():
            assert type(again.direction[name]) is type(part)
        found, expected = again.displacement(TOKENS, MASK), steering.displacement(TOKENS, MASK)
        assert torch.equal(flat(found), flat(expected))


def test_a_dense_gradient_that_is_there_serves_for_auto():
    examples = data_of("llama", "paired")
    needs = FineTune().needs(examples) | ColdJVP().needs(examples)
    assert len(needs.parameter_gradients) == 2
    assert needs.kept == FineTune().needs(examples).kept
    explicit = needs | ColdJVP(gradient="factored").needs(examples)
    assert len(explicit.kept) == 2


def test_several_forms_of_several_losses_in_one_pass():
    model, examples = model_of("qwen2"), data_of("qwen2", "paired")
    methods = [
        ColdJVP(loss, gradient=form)
        for loss in (DPO(), CrossEntropy())
        for form in ("dense", "factored")
    ]
    needs = methods[0].needs(examples)
    for method in methods[1:]:
        needs = needs | method.needs(examples)
    evidence = collect(model, examples, (0, 2), needs)
    for method in methods:
        alone = method.fit(model, examples, (0, 2)).displacement(TOKENS, MASK)
        together = method.solve(model, evidence).displacement(TOKENS, MASK)
        assert_close(flat(together), flat(alone), EXACT, method.label)


def test_auto_is_the_smaller_one():
    model = model_of("llama")
    many, few = data_of("llama", "paired"), DATA["paired"][:1]
    tensors = ColdJVP(CrossEntropy()).fit(model, many).direction
    assert not any(isinstance(part, Factored) for part in tensors.values())
    products = ColdJVP(CrossEntropy()).fit(model, few).direction
    assert any(isinstance(part, Factored) for part in products.values())


def test_low_rank_without_truncation_is_exact():
    model, examples = model_of("gemma2"), data_of("gemma2", "paired")
    dense = ColdJVP(gradient="dense").fit(model, examples).displacement(TOKENS, MASK)
    whole = ColdJVP(gradient="low_rank", rank=16).fit(model, examples, batch_size=1)
    assert_close(flat(whole.displacement(TOKENS, MASK)), flat(dense), EXACT, "full rank")
    assert max(whole.truncation) <= EXACT
    ranks = []
    for rank in (1, 4, 8):
        low = ColdJVP(gradient="low_rank", rank=rank).fit(model, examples, batch_size=1)
        ranks.append(relative_error(flat(low.displacement(TOKENS, MASK)), flat(dense)))
        parts = [p for p in low.direction.values() if isinstance(p, Factored)]
        assert max(part.rank for part in parts) == rank
    assert ranks[0] > 3 * ranks[1] > 9 * ranks[2] > 0, ranks


SUBJECTS = "cat dog bird tree house river stone".split()
COLOURS = "red blue green".split()
ASKED = [
    Example(f"the {colour} {subject} asks you : {verb} ?", f" {yes}", f" {no}")
    for place, subject in enumerate(SUBJECTS)
    for colour, verb, yes, no in zip(
        COLOURS,
        ("hide", "stay", "go"),
        ("yes", "always", "maybe"),
        ("no", "never", "please"),
        strict=True,
    )
    if place % 3 or colour != "red"
]


@pytest.mark.parametrize("setting", [{"rank": 4}, {"tolerance": 0.1}], ids=str)
@pytest.mark.parametrize("name", ["demo", "llama", "gpt2"])
def test_the_error_that_it_reports_is_that_of_new_prompts(name, setting):
    """Within a factor of two, for prompts like the fitted ones."""
    model = model_of(name, torch.float32, 0.12)
    if name == "demo":
        fitted = load_examples("demo/refusal", n=20)
        new = load_examples("demo/refusal", split="test", n=10)
    else:
        fitted, new = ExampleSet(tuple(ASKED[::2])), ExampleSet(tuple(ASKED[1::2]))
    tokens, mask = pad([example.prompt for example in encode(model, new)])
    exact = ColdJVP(gradient="dense").fit(model, fitted).displacement(tokens, mask)
    steering = ColdJVP(gradient="low_rank", **setting).fit(model, fitted, batch_size=4)
    found = steering.displacement(tokens, mask)
    for reported, layer in zip(steering.truncation, exact, strict=True):
        true = relative_error(found[layer][mask], exact[layer][mask])
        assert 0.5 < reported / true < 2, (layer, reported, true)


@pytest.mark.parametrize(
    "settings",
    [
        {"rank": 3},
        {"gradient": "low_rank", "rank": 0},
        {"gradient": "low_rank", "rank": 2, "tolerance": 0.1},
        {"gradient": "dense", "max_memory": 10},
    ],
    ids=str,
)
def test_settings_that_do_not_fit(settings):
    for kind in (ColdFD, ColdJVP):
        with pytest.raises(ArgumentError, match="Expected"):
            kind(**settings)


def test_several_steps_are_made_of_tensors():
    with pytest.raises(ArgumentError, match='steps = 2 with gradient = "factored"'):
        ColdJVP(steps=2, gradient="factored")


def test_low_rank_needs_eager_attention():
    model = model_of("llama")
    config = model.original_model.config
    config._attn_implementation = "sdpa"
    try:
        with pytest.raises(ModelError, match="measures what a truncation does"):
            ColdFD(gradient="low_rank").fit(model, data_of("llama", "paired"))
    finally:
        config._attn_implementation = "eager"


@pytest.mark.parametrize("kind", ["tangent", "forward"])
@pytest.mark.parametrize("point", ["blocks.1.attn.k.hook_in", "blocks.1.mlp.in.hook_in"])
def test_a_hook_that_changes_an_input_in_place_is_seen(kind, point):
    """Maps share products of equal inputs, but the input of one map may not be that of the next."""
    model, examples = zoo.bridge("llama"), DATA["paired"]
    found = []
    for form in ("dense", "factored"):
        steering = METHODS[kind](0.05, form).fit(model, examples)
        plain = steering.displacement(TOKENS, MASK)
        with model.hooks(fwd_hooks=[(point, lambda value, hook: value.zero_())]):
            found.append(flat(steering.displacement(TOKENS, MASK)))
    assert_close(found[1], found[0], 1e-4)
    assert_far(found[1], flat(plain), 1e-2)
