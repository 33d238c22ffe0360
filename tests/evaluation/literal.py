"""Literal evaluation: one question, one sequence, plain hooks, no padding and no sharing."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from coldlens.examples.tokens import Encoded
from coldlens.references.forward import run

Add = Callable[[Tensor], Tensor]
"""From the residual stream [pos, d_model] of a sequence to what takes its place."""

Forward = Callable[[Sequence[int], dict[int, Add]], Tensor]
"""From token ids and edits by layer to logits [pos, vocabulary]."""


def blocks_of(model: Any) -> Any:
    """Returns the list of blocks of a Hugging Face model."""
    inner = getattr(model, "model", None) or getattr(model, "transformer", None)
    inner = inner or model.gpt_neox
    return getattr(inner, "layers", None) or inner.h


def hugging_face(model: Any) -> Forward:
    """Runs a plain Hugging Face model, with plain forward hooks on its blocks."""

    def forward(ids: Sequence[int], edits: dict[int, Add]) -> Tensor:
        def hook_at(edit: Add) -> Callable[..., Any]:
            def hook(_module: Any, _inputs: Any, output: Any) -> Any:
                if isinstance(output, tuple):
                    return (edit(output[0][0]).unsqueeze(0), *output[1:])
                return edit(output[0]).unsqueeze(0)

            return hook

        blocks = blocks_of(model)
        handles = [blocks[layer].register_forward_hook(hook_at(e)) for layer, e in edits.items()]
        try:
            with torch.no_grad():
                return model(torch.tensor([list(ids)])).logits[0]
        finally:
            for handle in handles:
                handle.remove()

    return forward


def bridged(model: Any) -> Forward:
    """Runs a bridge in its own precision, for float64."""

    def forward(ids: Sequence[int], edits: dict[int, Add]) -> Tensor:
        with torch.no_grad():
            return run(model, ids, edits)[1]

    return forward


def places(positions: Any, prompt: int, total: int) -> list[int]:
    """Returns the steered places of prompt ⊕ completion, the completion being generated."""
    if isinstance(positions, tuple):
        return list(range(prompt))[slice(*positions)]
    return {
        "prompt": list(range(prompt)),
        "last_prompt": [prompt - 1],
        "all": list(range(total)),
        "generated": list(range(prompt, total)),
        "first_generated": list(range(prompt, total))[:1],
    }[positions]


def adding(vectors: dict[int, Tensor], eta: float, where: Sequence[int]) -> dict[int, Add]:
    """Returns edits that add η times a vector at some places."""

    def edit_of(vector: Tensor) -> Add:
        def edit(stream: Tensor) -> Tensor:
            moved = stream.clone()
            for place in where:
                moved[place] = moved[place] + eta * vector
            return moved

        return edit

    return {layer: edit_of(vector) for layer, vector in vectors.items()}


def measured(
    forward: Forward, question: Encoded, vectors: dict[int, Tensor], eta: float, positions: Any
) -> dict[str, float]:
    """Measures one question in every way, by the definitions."""

    def logs(completion: Sequence[int], *, steered: bool = True) -> Tensor:
        ids = [*question.prompt, *completion]
        where = places(positions, len(question.prompt), len(ids))
        edits = adding(vectors, eta, where) if steered else {}
        return forward(ids, edits).log_softmax(-1)

    def mean_log_prob(completion: Sequence[int]) -> Tensor:
        found, start = logs(completion), len(question.prompt) - 1
        return sum(found[start + t, token] for t, token in enumerate(completion)) / len(completion)

    last = logs(())[-1]
    found: dict[str, Any] = {}
    old = logs((), steered=False)[-1]
    found["kl"] = sum(old.exp() * (old - last))
    positive = mean_log_prob(question.positive)
    found["nll"] = found["log_prob_positive"] = positive
    found["nll"] = -positive
    if question.negative is not None:
        negative = mean_log_prob(question.negative)
        found["log_prob_negative"] = negative
        found["margin"] = positive - negative
        found["prefers"] = 1.0 if positive > negative else 0.0
        if len(question.positive) == len(question.negative) == 1:
            up, down = last[question.positive[0]].exp(), last[question.negative[0]].exp()
            found["p_positive"], found["p_negative"] = up, down
            found["probability"] = up / (up + down)
            found["logit_difference"] = (up / down).log()
            found["correct"] = 1.0 if up > down else 0.0
    if question.options is not None:
        share = torch.stack([last[token].exp() for token in question.options])
        share = share / share.sum()
        group = question.distribution
        pairs = list(zip(group, share.tolist(), strict=True))
        found["total_variation"] = sum(abs(q - p) for q, p in pairs) / 2
        found["kl_from_group"] = sum(
            q * (torch.tensor(q, dtype=share.dtype).log() - p.log())
            for q, p in zip(group, share, strict=True)
            if q > 0
        )
    return {name: float(value) for name, value in found.items()}
