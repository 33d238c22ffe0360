"""Logits of some tokens: the same as in a whole pass, at the cost of these tokens in the end."""

import pytest
import torch
import zoo

from coldlens.models.forward import residuals
from coldlens.models.linear import hooked, watched

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


@pytest.mark.parametrize("where", ["mlp", "block"])
def test_a_hook_of_torch_sees_every_token(where):
    model, seen = zoo.bridge("llama"), []
    block = model.original_model.model.layers[-1]
    module = block.mlp if where == "mlp" else block
    handle = module.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[:2])))
    with torch.no_grad():
        residuals(model, TOKENS, MASK, (), logits=READ)
        handle.remove()
        residuals(model, TOKENS, MASK, (), logits=READ)
    assert seen == [tuple(TOKENS.shape)]
