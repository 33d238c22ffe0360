"""Losses of completions read the logits that predict them, and no others are computed."""

import pytest
import torch
from exact.cases import LOGIT_LOSSES, LOSSES, data_of, model_of
from exact.closeness import assert_close
from exact.tolerances import EXACT

from coldlens.capture import Needs, collect
from coldlens.examples.batch import BOTH, batch_of, tail
from coldlens.examples.tokens import encode
from coldlens.losses import reads_completion
from coldlens.models.hooks import hooked


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_a_loss_is_the_same_without_the_prompts(name, side):
    loss, model = LOSSES[name], model_of("llama")
    encoded = encode(model, data_of("llama", "paired"))
    batch = batch_of(encoded, range(len(encoded)), BOTH, padding_side=side)
    assert reads_completion(loss)
    logits = torch.randn(*batch.tokens.shape, model.cfg.d_vocab, dtype=torch.float64)
    left, short = tail(batch)
    assert short.tokens.shape[1] == 1 + max(batch.answer_mask.sum(1))
    some = torch.randn(*short.tokens.shape, model.cfg.d_vocab, dtype=torch.float64)
    some[short.attention_mask] = logits[left]
    assert_close(loss(some, short), loss(logits, batch), EXACT, name)
    # Counter-case: the logits at these tokens do matter.
    some[short.attention_mask] += torch.randn_like(logits[left])
    assert not torch.allclose(loss(some, short), loss(logits, batch)) or name == "dpo_self"


def of_prompts(logits, batch):
    """A loss that reads logits within the prompts too."""
    return (logits.square().mean(-1) * batch.attention_mask).sum(1)[: batch.size]


def test_only_what_a_loss_reads_is_unembedded(monkeypatch):
    model, examples = model_of("llama"), data_of("llama", "paired")
    encoded = encode(model, examples)
    sequences = [(one.prompt, answer) for one in encoded for answer in (one.positive, one.negative)]
    read = sum(1 + len(answer) for _, answer in sequences)
    whole = len(sequences) * max(len(prompt) + len(answer) for prompt, answer in sequences)
    unembedding, counts = model.unembed.original_component, []
    forward = unembedding.forward

    def counted(residual):
        counts.append(residual.shape[:-1].numel())
        return forward(residual)

    def collected(*losses):
        counts.clear()
        collect(model, examples, (0, 1), Needs(parameter_gradients=frozenset(losses)))
        return counts

    # Not by a hook: where somebody's hook sees the unembedding, every token goes through it.
    monkeypatch.setattr(unembedding, "forward", counted)
    assert collected(LOSSES["dpo"]) == [read]
    assert collected(of_prompts) == [whole]
    assert collected(LOSSES["dpo"], of_prompts) == [whole]
    with hooked({model.unembed: lambda *_: None}):
        assert collected(LOSSES["dpo"]) == [read]
    handle = model.unembed.register_forward_hook(lambda *_: None)
    assert collected(LOSSES["dpo"]) == [whole]
    handle.remove()
