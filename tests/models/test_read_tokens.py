"""Logits of some tokens: the same as in a whole pass, at the cost of these tokens in the end."""

from dataclasses import dataclass

import pytest
import torch
import zoo
from transformer_lens.model_bridge import TransformerBridge
from transformers import BloomConfig, BloomForCausalLM

from coldlens.models.forward import residuals
from coldlens.models.hooks import hooked, watched
from coldlens.models.load import load_model

TOKENS = torch.tensor([[5, 9, 7, 3, 8, 2], [0, 0, 4, 6, 11, 9]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]).bool()
READ = torch.tensor([[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]]).bool()
"""Also a row whose padding comes first."""


def rows_seen(model, layers, logits):
    """Returns the shapes in which the last block's MLP runs, and the logits."""
    seen = []
    with hooked({model.blocks[-1].mlp: lambda _module, inputs, _output: seen.append(inputs[0])}):
        _, found = residuals(model, TOKENS, MASK, layers, logits=logits)
    return [tuple(one.shape[:-1]) for one in seen], found


@pytest.mark.parametrize("name", zoo.CONFIGS)
@pytest.mark.parametrize("layers", [(), (0,)])
def test_the_last_mlp_runs_for_tokens_that_are_read(name, layers):
    model = zoo.bridge(name, dtype=torch.float64)
    with torch.no_grad():
        whole, every = rows_seen(model, layers, True)
        few, some = rows_seen(model, layers, READ)
    assert whole == [tuple(TOKENS.shape)]
    assert few == [(1, int(READ.sum()))]
    assert every is not None
    assert torch.allclose(some, every[READ], rtol=1e-12, atol=1e-12)
    assert not watched([model.blocks[-1].mlp])


def test_nothing_is_left_out_where_the_last_layer_is_read():
    model = zoo.bridge("llama")
    last = len(model.blocks) - 1
    with torch.no_grad():
        seen, _ = rows_seen(model, (last,), READ)
        streams, _ = residuals(model, TOKENS, MASK, (last,), logits=READ)
        plain, _ = residuals(model, TOKENS, MASK, (last,))
    assert seen == [tuple(TOKENS.shape)]
    assert torch.equal(streams[last][MASK], plain[last][MASK])


@pytest.mark.parametrize("point", ["mlp.hook_in", "hook_resid_mid", "hook_resid_post"])
def test_a_hook_of_the_caller_sees_every_token(point):
    model, seen = zoo.bridge("llama"), []
    name = f"blocks.{len(model.blocks) - 1}.{point}"

    def keep(stream, hook):
        seen.append(tuple(stream.shape[:2]))
        return stream * 2

    with torch.no_grad(), model.hooks(fwd_hooks=[(name, keep)]):
        shapes, some = rows_seen(model, (), READ)
        _, every = residuals(model, TOKENS, MASK, (), logits=True)
    assert shapes == [tuple(TOKENS.shape)]
    assert seen == [tuple(TOKENS.shape)] * 2
    assert every is not None
    assert torch.allclose(some, every[READ], atol=1e-6)


def after_mlp(model):
    """Returns modules that see what the last MLP does, of Hugging Face's model and the bridge's."""
    network = model.original_model.model
    block = network.layers[-1]
    return [block.mlp, block, block.post_feedforward_layernorm, network.norm, model.ln_final]


@pytest.mark.parametrize("place", range(5))
def test_a_hook_of_torch_sees_every_token(place):
    model, seen = zoo.bridge("gemma2"), []
    module = after_mlp(model)[place]

    def keep(_module, _inputs, output):
        seen.append((output if isinstance(output, torch.Tensor) else output[0]).clone())

    def run(read):
        del seen[:]
        with torch.no_grad():
            residuals(model, TOKENS, MASK, (), logits=read)
        return seen[0]

    handle = module.register_forward_hook(keep)
    assert torch.equal(run(READ), run(True))
    handle.remove()
    shapes, _ = rows_seen(model, (), READ)
    assert shapes == [(1, int(READ.sum()))]


def test_a_hook_on_all_modules_sees_every_token():
    model, shapes = zoo.bridge("llama"), []
    mlp = model.blocks[-1].mlp

    def keep(module, inputs, _output):
        if module is mlp:
            shapes.append(tuple(inputs[0].shape[:2]))

    handle = torch.nn.modules.module.register_module_forward_hook(keep)
    try:
        with torch.no_grad():
            residuals(model, TOKENS, MASK, (), logits=READ)
    finally:
        handle.remove()
    assert shapes == [tuple(TOKENS.shape)]


def test_hooks_need_no_hash():
    @dataclass
    class Keep:
        seen: list

        def __call__(self, _module, inputs, _output):
            self.seen.append(tuple(inputs[0].shape[:2]))

    model, keep = zoo.bridge("llama"), Keep([])
    handle = model.blocks[-1].mlp.register_forward_hook(keep)
    with torch.no_grad():
        residuals(model, TOKENS, MASK, (), logits=READ)
    handle.remove()
    with torch.no_grad(), hooked({model.blocks[-1].mlp: keep}):
        residuals(model, TOKENS, MASK, (), logits=READ)
    assert keep.seen == [tuple(TOKENS.shape), (1, int(READ.sum()))]


def test_an_mlp_that_is_also_given_the_stream():
    config = BloomConfig(vocab_size=32, hidden_size=16, n_layer=2, n_head=2)
    config.architectures = ["BloomForCausalLM"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BloomForCausalLM(config).eval()
    model = TransformerBridge.boot_transformers(
        "bigscience/bloom-560m", hf_model=network, tokenizer=zoo.tokenizer(), device="cpu"
    )
    with torch.no_grad():
        shapes, some = rows_seen(model, (), READ)
        _, every = residuals(model, TOKENS, MASK, (), logits=True)
    assert shapes == [(1, int(READ.sum()))]
    assert torch.allclose(some, every[READ], atol=1e-6)


def test_what_hugging_face_records_on_demand_is_no_hook_of_the_caller():
    model = load_model("demo")  # whose attentions are to be recorded
    with torch.no_grad():
        residuals(model, TOKENS, MASK, (), logits=True)
        assert any(part._forward_hooks for part in model.blocks[-1].modules())
        shapes, some = rows_seen(model, (), READ)
        _, every = residuals(model, TOKENS, MASK, (), logits=True)
    assert shapes == [(1, int(READ.sum()))]
    assert torch.allclose(some, every[READ], atol=1e-5)


@pytest.mark.parametrize("point", ["ln_final.hook_in", "unembed.hook_in", "unembed.hook_out"])
def test_a_hook_that_mixes_tokens_in_the_end_has_its_effect(point):
    model = zoo.bridge("llama")

    def mixed(_module, _inputs, output):
        return output + output.cumsum(1)

    with torch.no_grad():
        _, plain = residuals(model, TOKENS, MASK, (), logits=READ)
        handle = model.hook_dict[point].register_forward_hook(mixed)
        _, some = residuals(model, TOKENS, MASK, (), logits=READ)
        _, every = residuals(model, TOKENS, MASK, (), logits=True)
        handle.remove()
    assert torch.allclose(some, every[READ], atol=1e-5)
    assert not torch.allclose(some, plain, atol=1e-2)
