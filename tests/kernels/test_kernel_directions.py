"""ColdKernel with the empirical NTK, against Jacobians written out."""

import pytest
import torch
from exact.cases import DATA, INPUTS, model_of
from exact.closeness import assert_close, assert_far

from coldlens.compare.compare import compare_directions
from coldlens.directions import ColdJVP, ColdKernel
from coldlens.errors import ArgumentError, ModelError
from coldlens.examples.batch import pad
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, ContrastiveSquaredError, CrossEntropy
from coldlens.references import activation_gradients, jacobian, position_indices
from coldlens.steering.steering import Steering

EXACT = 1e-9
EXAMPLES = DATA["paired"][:3]
LOSS = DPO(beta=0.7)
X = INPUTS[1]
UNTIED, TIED = ("llama", "qwen3", "phi3"), ("gpt2", "qwen2", "gemma2")


def rows_of(model, ids, layer, position):
    """Returns J_l(x)[s] as one matrix [d_model, parameters]."""
    found = jacobian(model, ids, layer, position)
    return torch.cat([rows.flatten(1) for rows in found.values()], 1)


def literal(model, layer, loss, positions, trace):
    """Returns −(1/N) Σᵢ Σ_t K((x,s),(xᵢ,t)) ∂ᵢ[t] for every token s of X, block by block."""
    left = [rows_of(model, X, layer, s) for s in range(len(X))]
    total = torch.zeros(len(X), 16, dtype=torch.float64)
    for example in encode(model, EXAMPLES):
        prompt = len(example.prompt)
        for side, gradient in activation_gradients(model, example, loss, [layer])[layer].items():
            for t in position_indices(positions, prompt, len(gradient) - prompt):
                right = rows_of(model, example.sequence(side), layer, t)
                for s, rows in enumerate(left):
                    block = rows @ right.T
                    if trace:
                        block = block.trace() / 16 * torch.eye(16, dtype=torch.float64)
                    total[s] -= block @ gradient[t] / len(EXAMPLES)
    return total


@pytest.fixture(params=("llama", "gpt2", "gemma2"))
def model(request):
    return model_of(request.param)


@pytest.mark.parametrize(
    ("kernel", "positions", "loss"),
    [
        ("entk", "last_prompt", LOSS),
        ("entk", "answer", LOSS),
        ("entk", (-2, None), CrossEntropy()),
        ("entk", "answer", ContrastiveSquaredError()),
        ("entk_trace", "last_prompt", LOSS),
    ],
)
def test_the_displacement_is_the_sum_over_blocks(model, kernel, positions, loss):
    steering = ColdKernel(loss, positions, kernel).fit(model, EXAMPLES, [1])
    tokens, mask = pad([INPUTS[0], X], side="left")
    found = steering.displacement(tokens, mask)[1][1][mask[1]]
    expected = literal(model, 1, loss, positions, kernel == "entk_trace")
    assert_close(found, expected, EXACT, f"{kernel} at {positions}")
    assert_close(steering.readings([X])[0, 0], expected[-1], EXACT, "the last token alone")


@pytest.mark.parametrize("name", UNTIED)
def test_at_all_positions_it_is_the_exact_displacement(name):
    model = model_of(name)
    found = ColdKernel(LOSS, "all", "entk").fit(model, EXAMPLES).displacement(torch.tensor([X]))
    exact = ColdJVP(LOSS).fit(model, EXAMPLES).displacement(torch.tensor([X]))
    for layer, expected in exact.items():
        assert_close(found[layer], expected, EXACT, f"layer {layer}")


@pytest.mark.parametrize("name", TIED)
def test_a_tied_embedding_moves_through_its_unembedding_too(name):
    model = model_of(name)
    found = ColdKernel(LOSS, "all", "entk").fit(model, EXAMPLES).displacement(torch.tensor([X]))
    exact = ColdJVP(LOSS).fit(model, EXAMPLES).displacement(torch.tensor([X]))
    for layer, expected in exact.items():
        assert_far(found[layer], expected, 1e-3, f"layer {layer}")


def test_several_layers_are_taken_given_the_earlier_ones():
    model = model_of("llama")
    tokens = torch.tensor([X])
    for_all, exact = (
        method.fit(model, EXAMPLES) for method in (ColdKernel(LOSS, "all", "entk"), ColdJVP(LOSS))
    )
    found = []
    for steering in (for_all, exact):
        with steering.apply(model, layer=[0, 2], eta=0.1, positions="last_prompt"):
            found.append(model(tokens, return_type="logits").detach())
    assert_close(found[0], found[1], EXACT, "logits")
    assert_far(found[0], model(tokens, return_type="logits").detach(), 1e-4, "unsteered")


def test_the_trace_steers_one_layer_at_a_time():
    model = model_of("llama")
    steering = ColdKernel(LOSS, kernel="entk_trace").fit(model, EXAMPLES)
    tokens = torch.tensor([X])
    with steering.apply(model, layer=1, eta=0.1):
        steered = model(tokens, return_type="logits")
    assert_far(steered, model(tokens, return_type="logits"), 1e-4)
    with (
        pytest.raises(ArgumentError, match=r"one steered layer .*; found layers \[0, 2\]"),
        steering.apply(model, layer=[0, 2]),
    ):
        model(tokens)


@pytest.mark.parametrize("kernel", ["entk", "entk_trace"])
def test_it_comes_back_from_a_file(tmp_path, kernel):
    model = model_of("gpt2")
    steering = ColdKernel(LOSS, kernel=kernel).fit(model, EXAMPLES, [0, 2])
    steering.save(tmp_path / "steering.safetensors")
    again = Steering.load(tmp_path / "steering.safetensors", model)
    assert again.layers == (0, 2)
    assert torch.equal(again.readings([X]), steering.readings([X]))


def test_the_trace_has_one_position():
    with pytest.raises(ArgumentError, match=r'positions "last_prompt" for kernel "entk_trace"'):
        ColdKernel(positions="answer", kernel="entk_trace")


@pytest.mark.parametrize("kernel", ["entk", "entk_trace"])
def test_the_kernel_needs_the_models_own_parameters(kernel):
    model = model_of("llama", torch.float32, 0.1)
    before = model.compatibility_mode
    model.compatibility_mode = True
    try:
        with pytest.raises(ModelError, match=rf"raw numerics for ColdKernel\({kernel}\)"):
            ColdKernel(kernel=kernel).fit(model, EXAMPLES)
    finally:
        model.compatibility_mode = before


def test_both_kernels_can_be_compared():
    model = model_of("llama")
    chosen = [
        ColdKernel(positions="all", kernel="entk"),
        ColdKernel(kernel="entk"),
        ColdKernel(kernel="entk_trace"),
        ColdJVP(),
    ]
    report = compare_directions(model, EXAMPLES, methods=chosen, layers=[1])
    found = report.table.set_index("method").cosine_to_ColdJVP
    labels = ["ColdKernel(all, entk)", "ColdKernel(entk)", "ColdKernel(entk_trace)", "ColdJVP"]
    assert list(found.index) == labels
    assert found["ColdKernel(all, entk)"] == pytest.approx(1, abs=EXACT)
    assert (found[labels[1:3]].abs() < 0.99).all()
