"""Going on from a residual stream equals a whole forward in which it was replaced."""

import pytest
import torch
import zoo
from evaluation.conftest import bridge_of

from coldlens.examples.batch import pad
from coldlens.models.forward import residuals
from coldlens.models.hooks import hooked
from coldlens.models.resume import resumed

ROWS = [(1, 6, 7, 8, 9, 10, 11, 12, 13, 14), (1, 30, 35), (12, 13, 14, 15, 16)]
EXACT = 1e-12


@pytest.mark.parametrize("name", zoo.CONFIGS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_equals_a_whole_forward(name, side):
    model = bridge_of(name, torch.float64)
    tokens, mask = pad(ROWS, side=side)
    for layer in range(len(model.blocks)):
        with torch.no_grad():
            streams, plain = residuals(model, tokens, mask, [layer], logits=True)
            moved = streams[layer] + torch.randn_like(streams[layer])
            _, expected = residuals(
                model, tokens, mask, [layer], edit=lambda *_, new=moved: new, logits=True
            )
            found = resumed(model, tokens, mask, layer, moved)
            again = resumed(model, tokens, mask, layer, streams[layer])
        scale = expected[mask].abs().max()
        assert (found - expected)[mask].abs().max() <= EXACT * scale
        assert (again - plain)[mask].abs().max() <= EXACT * scale
        assert (found - plain)[mask].abs().max() > 1e-3 * scale


@pytest.mark.parametrize("name", [*zoo.CONFIGS, "demo"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, EXACT)])
def test_logits_of_some_tokens_equal_those_of_all(name, side, dtype, bound):
    model = bridge_of(name, dtype)
    tokens, mask = pad(ROWS, side=side)
    read = mask & (torch.rand(mask.shape) < 0.4)
    read[1] = False
    unembedded = []
    looks = {model.unembed: lambda *found: unembedded.append(found[1][0])}
    with torch.no_grad(), hooked(looks):
        streams, every = residuals(model, tokens, mask, [1], logits=True)
        _, some = residuals(model, tokens, mask, [1], logits=read)
        again = resumed(model, tokens, mask, 1, streams[1], read)
    assert [part.shape[:2].numel() for part in unembedded] == [mask.numel(), *2 * [read.sum()]]
    expected = every[read]
    assert some.shape == expected.shape == (int(read.sum()), model.cfg.d_vocab)
    for found in (some, again):
        assert (found - expected).abs().max() <= bound * expected.abs().max()


def test_logits_of_other_tokens_differ():
    """Counter-case for the comparison above."""
    model = bridge_of("gemma2")
    tokens, mask = pad(ROWS)
    with torch.no_grad():
        _, every = residuals(model, tokens, mask, [1], logits=True)
        _, some = residuals(model, tokens, mask, [1], logits=mask.cumsum(1) == 2)
    assert (some - every[mask.cumsum(1) == 1]).abs().max() > 1e-3 * every.abs().max()


def test_hooks_of_torch_on_the_block_itself_act():
    model = bridge_of("llama")
    tokens, mask = pad(ROWS)
    handles = [
        model.blocks[layer].register_forward_hook(lambda _m, _i, out: out + out.cumsum(1))
        for layer in (0, 1)
    ]
    with torch.no_grad():
        streams, plain = residuals(model, tokens, mask, [1], logits=True)
        again = resumed(model, tokens, mask, 1, streams[1])
        for handle in handles:
            handle.remove()
        other = resumed(model, tokens, mask, 1, streams[1])
    assert torch.allclose(again[mask], plain[mask], atol=1e-5)
    assert not torch.allclose(other[mask], plain[mask], atol=1e-2)


def test_the_blocks_before_are_not_run_and_come_back():
    model = bridge_of("llama")
    tokens, mask = pad(ROWS)
    ran = []
    handles = [
        block.register_forward_pre_hook(lambda *_, place=place: ran.append(place))
        for place, block in enumerate(model.original_model.model.layers)
    ]
    blocks = list(model.blocks)
    stream = torch.zeros(*tokens.shape, model.cfg.d_model)
    with torch.no_grad():
        resumed(model, tokens, mask, 1, stream)
    assert ran == [2]
    with pytest.raises(RuntimeError), torch.no_grad():
        resumed(model, tokens, mask, 1, stream[..., :3])
    assert list(model.blocks) == blocks
    ran.clear()
    with torch.no_grad():
        residuals(model, tokens, mask, [2], logits=True)
    assert ran == [0, 1, 2]
    for handle in handles:
        handle.remove()
