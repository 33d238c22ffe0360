"""Identities that must hold exactly, each with a counter-case that must not."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from exact.closeness import assert_close, assert_far

from coldlens.capture import Needs, collect
from coldlens.directions import ICV, ColdJVP, ColdKernel, DiffMean, FineTune, RepE
from coldlens.losses import DPO, ContrastiveSquaredError, CrossEntropy, NegativeCrossEntropy
from coldlens.references import parameter_gradient

ANSWER_KERNEL = ColdKernel(ContrastiveSquaredError(), positions="answer")


def vectors(method, setting, layers=None):
    steering = method.fit(setting.model, setting.examples, layers)
    return torch.stack([steering.vector(layer) for layer in steering.layers])


def unit(values):
    return values / values.norm(dim=-1, keepdim=True)


def dpo_vectors(beta, reference="self"):
    return lambda setting: unit(vectors(ColdJVP(DPO(beta=beta, reference=reference)), setting))


@dataclass(frozen=True)
class Identity:
    """left = right, and counter ≠ right.

    Attributes:
        name: What is claimed.
        left: One side.
        right: The other.
        counter: The left side without the condition that makes it true.
        apart: How far the counter-case must be from the right side.
    """

    name: str
    left: Callable
    right: Callable
    counter: Callable
    apart: float = 0.01


IDENTITIES = (
    Identity(
        "DiffMean is the kernel of the contrastive loss",
        lambda s: vectors(ANSWER_KERNEL, s),
        lambda s: vectors(DiffMean(), s),
        lambda s: vectors(ColdKernel(ContrastiveSquaredError(), positions="last_answer"), s),
    ),
    Identity(
        "the stop-gradient is what keeps it",
        lambda s: vectors(ANSWER_KERNEL, s),
        lambda s: vectors(DiffMean(), s),
        lambda s: vectors(
            ColdKernel(ContrastiveSquaredError(stop_gradient=False), positions="answer"), s
        ),
        apart=0.99,
    ),
    Identity(
        "with the model as reference the direction does not depend on beta",
        dpo_vectors(0.1),
        dpo_vectors(3.0),
        dpo_vectors(3.0, reference="none"),
        apart=1e-4,
    ),
    *(
        Identity(
            f"{kind} with DPO reads both completions",
            lambda s, method=method: vectors(method(DPO(beta=0.4, reference="self")), s),
            lambda s, method=method: (
                0.2 * vectors(method(CrossEntropy()), s)
                + 0.2 * vectors(method(NegativeCrossEntropy()), s)
            ),
            lambda s, method=method: 0.2 * vectors(method(NegativeCrossEntropy()), s),
            apart=0.02,
        )
        for kind, method in (("ColdKernel", ColdKernel), ("ColdJVP", ColdJVP))
    ),
    Identity(
        "ICV of one layer is RepE",
        lambda s: vectors(ICV(), s, [1]),
        lambda s: vectors(RepE(), s, [1]),
        lambda s: unit(vectors(ICV(), s)[1:2]),
        apart=1e-4,
    ),
)


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.name)
def test_identity(paired, identity):
    right = identity.right(paired)
    assert_close(identity.left(paired), right, paired.bound, identity.name)
    assert_far(identity.counter(paired), right, identity.apart, f"counter-case: {identity.name}")


def test_without_stop_gradient_the_sum_is_zero(paired):
    open_loss = ColdKernel(ContrastiveSquaredError(stop_gradient=False), positions="answer")
    found, closed = vectors(open_loss, paired), vectors(ANSWER_KERNEL, paired)
    assert found.norm() <= paired.bound * closed.norm()


def test_self_reference_has_value_log_two(paired):
    values = {}
    for reference in ("self", "none"):
        loss = DPO(beta=2.0, reference=reference)
        needs = Needs(parameter_gradients=frozenset({loss}))
        evidence = collect(paired.model, paired.examples, paired.layers, needs)
        values[reference] = evidence.losses[loss]
    expected = torch.full_like(values["self"], 2.0).log()
    assert_close(values["self"], expected, paired.bound, "log 2")
    assert_far(values["none"], expected, 0.01, "without a reference")


def test_the_rejected_completion_alone_points_elsewhere(small_paired):
    both = vectors(ColdJVP(DPO(reference="self")), small_paired)
    rejected = vectors(ColdJVP(NegativeCrossEntropy()), small_paired)
    cosines = torch.cosine_similarity(both, rejected, dim=-1)
    assert (cosines < 0.99).all(), f"cosines with the rejected completion alone: {cosines}"


def test_a_small_step_is_the_derivative(paired):
    g = parameter_gradient(paired.model, paired.encoded, paired.loss)
    size = torch.stack([p.detach().norm() for p in paired.model.original_model.parameters()]).norm()
    scale = (size / torch.stack([value.norm() for value in g.values()]).norm()).item()
    exact = vectors(ColdJVP(paired.loss), paired)
    errors = []
    for relative in (1e-5, 1e-6, 1e-7):
        lr = relative * scale
        step = vectors(FineTune(1, lr, paired.loss), paired) / lr
        errors.append((step - exact).norm(dim=-1) / exact.norm(dim=-1))
    assert (errors[0] < 0.05).all(), errors
    for coarse, fine in pairwise(errors):
        ratios = coarse / fine
        assert ((ratios > 8) & (ratios < 12)).all(), f"not linear in lr: ratios {ratios}"


def test_a_tied_embedding_moves_through_both_its_uses(paired):
    tied = paired.model.original_model.config.tie_word_embeddings
    table = paired.model.original_model.get_input_embeddings().weight
    found = ColdJVP(paired.loss, gradient="dense").fit(paired.model, paired.examples).direction
    known = dict(paired.model.original_model.named_parameters())
    name = next(n for n, p in known.items() if p is table).replace("._original_component", "")
    used = {
        t for e in paired.encoded for side in ("positive", "negative") for t in e.sequence(side)
    }
    unused = sorted(set(range(len(table))) - used)
    moved = found[name][unused].norm(dim=-1)
    assert (moved > 0).all() if tied else (moved == 0).all()
