"""What a gradient occupies: estimated before, measured after, and no weight formed on the way."""

import warnings
from dataclasses import replace

import pytest
import torch
import transformers
import zoo
from exact.cases import DATA, INPUTS, data_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformer_lens.model_bridge import TransformerBridge

from coldlens.directions import ColdFD, ColdJVP
from coldlens.errors import ArgumentError
from coldlens.examples.example import Example, ExampleSet
from coldlens.gradients import Factored, gradient_memory, packed
from coldlens.losses import DPO, CrossEntropy

SHAPES = {
    "llama": ("Llama", dict(num_hidden_layers=12, intermediate_size=80)),
    "qwen2": ("Qwen2", dict(num_hidden_layers=12, intermediate_size=80, tie_word_embeddings=True)),
    "gemma2": ("Gemma2", dict(num_hidden_layers=12, intermediate_size=64, head_dim=8)),
}
COMMON = dict(
    vocab_size=300,
    hidden_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
)
ANSWER = 4


def scaled_down(name):
    stem, settings = SHAPES[name]
    config = getattr(transformers, f"{stem}Config")(**COMMON, **settings)
    hf = transformers.AutoModelForCausalLM.from_config(config).eval()
    config.architectures = [type(hf).__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return config, TransformerBridge.boot_transformers(
            name, hf_model=hf, tokenizer=zoo.tokenizer(), device="cpu", dtype=torch.float32
        )


def kept(direction):
    """Bytes of all tensors of a direction, shared ones once."""
    storages = [tensor.untyped_storage() for tensor in packed(direction).values()]
    return sum({one._cdata: one.nbytes() for one in storages}.values())


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_estimate_is_what_is_kept(name, paired):
    config, model = scaled_down(name)
    ids = torch.randint(4, 300, (10, 48 + ANSWER)).tolist()
    examples = ExampleSet(
        tuple(
            Example(tuple(row[: 48 - ANSWER]), tuple(row[-2 * ANSWER : -ANSWER]), tuple(other))
            for row in ids
            for other in [row[-ANSWER:]]
        )
    )
    loss, tokens, predicting = CrossEntropy(), 470, 10 * ANSWER
    if paired:
        loss, tokens, predicting = DPO(), 470 + 10 * (ANSWER - 1), 20 * ANSWER
    memory = gradient_memory(config, tokens, predicting)
    for form, expected in (("dense", memory.dense), ("factored", memory.factored)):
        found = kept(ColdJVP(loss, gradient=form).fit(model, examples).direction)
        assert abs(expected / found - 1) < 0.1, (form, expected, found)
    low = ColdJVP(loss, gradient="low_rank", rank=5).fit(model, examples).direction
    assert kept(low) <= memory.low_rank(5)


def test_seven_billion_parameters():
    """Ten examples of 48 tokens on the shape of Llama 7 B, which is never built."""
    config = transformers.LlamaConfig()
    assert (config.hidden_size, config.num_hidden_layers) == (4096, 32)
    memory = gradient_memory(config, 480, 40)
    assert memory.dense == pytest.approx(4 * 6.6e9, rel=0.01)
    assert memory.factored < 0.2 * memory.dense
    assert memory.low_rank(7) - memory.low_rank(6) == memory.low_rank(2) - memory.low_rank(1) > 0


@pytest.mark.parametrize("settings", [{"tokens": 0}, {"predicting": -1}], ids=str)
def test_numbers_out_of_range(settings):
    with pytest.raises(ArgumentError, match=f"{next(iter(settings))} > 0"):
        gradient_memory(transformers.LlamaConfig(), **{"tokens": 3, "predicting": 1, **settings})


ZEROS = {"aten._efficientzerotensor.default", "aten.expand.default"}
"""Forward mode has a zero without memory for what does not move."""


class Formed(TorchDispatchMode):
    """Notes tensors of the shape of a weight that have storage of their own."""

    def __init__(self, weights):
        """Takes the weights."""
        super().__init__()
        self._shapes = {tuple(weight.shape) for weight in weights}
        self._shapes |= {shape[::-1] for shape in self._shapes}
        self._own = {weight.untyped_storage()._cdata for weight in weights}
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Returns what the function gives."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and str(func) not in ZEROS:
                formed = leaf.untyped_storage()._cdata not in self._own
                if formed and tuple(leaf.shape) in self._shapes:
                    self.found.add((str(func), tuple(leaf.shape)))
        return result


@pytest.mark.parametrize("form", ["factored", "dense"])
@pytest.mark.parametrize("kind", [ColdFD, ColdJVP])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3"])
def test_no_weight_is_copied_or_formed(name, kind, form):
    model, examples = zoo.bridge(name), ExampleSet(DATA["ids"].examples[:1])
    weights = [p for p in model.original_model.parameters() if p.ndim == 2]
    for weight in weights:
        weight.requires_grad_(False)
    method = kind(CrossEntropy(), gradient=form)
    if kind is ColdFD:
        method = replace(method, epsilon=0.01)
    with Formed(weights) as watch:
        steering = method.fit(model, examples)
        steering.displacement(torch.tensor([INPUTS[0]]))
    assert bool(watch.found) == (form == "dense"), watch.found
    assert all(weight.grad is None and not weight.requires_grad for weight in weights)


class Codes(torch.nn.Linear):
    """A linear map whose weight is eight-bit codes, as quantised models have it."""

    def __init__(self, plain):
        """Takes the map whose weight is rounded."""
        super().__init__(plain.in_features, plain.out_features, bias=False)
        scale = plain.weight.detach().abs().max() / 127
        codes = (plain.weight.detach() / scale).round().to(torch.int8)
        self.weight = torch.nn.Parameter(codes, requires_grad=False)
        self.register_buffer("step", scale)

    def forward(self, inputs):
        """Returns the output."""
        return torch.nn.functional.linear(inputs, self.weight.to(inputs.dtype) * self.step)


def test_quantised_weights():
    """Factored on eight-bit codes = dense on the weights that they stand for."""
    plain, coded = zoo.hf_model("llama"), zoo.hf_model("llama")
    for layer, other in zip(plain.model.layers, coded.model.layers, strict=True):
        for part in ("gate_proj", "up_proj", "down_proj"):
            codes = Codes(getattr(layer.mlp, part))
            setattr(other.mlp, part, codes.eval())
            with torch.no_grad():
                getattr(layer.mlp, part).weight.copy_(codes.weight * codes.step)
    bridges = []
    for model in (plain, coded):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bridges.append(
                TransformerBridge.boot_transformers(
                    "tiny", hf_model=model, tokenizer=zoo.tokenizer(), device="cpu"
                )
            )
    examples, tokens = data_of("llama", "paired"), torch.tensor([INPUTS[0]])
    dense = ColdJVP(gradient="dense").fit(bridges[0], examples).displacement(tokens)
    steering = ColdJVP(gradient="factored").fit(bridges[1], examples)
    assert isinstance(steering.direction["model.layers.1.mlp.up_proj.weight"], Factored)
    for layer, found in steering.displacement(tokens).items():
        assert (found - dense[layer]).norm() <= 1e-5 * dense[layer].norm()
