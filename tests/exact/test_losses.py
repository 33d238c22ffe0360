"""Losses and their gradients against the formulas written out token by token."""

import torch
from exact.closeness import assert_close

from coldlens.capture import Needs, collect
from coldlens.losses import reads_residual
from coldlens.references import (
    activation_gradients,
    example_loss,
    parameter_gradient,
    summed_gradient,
)

POSITIONS = ("last_prompt", "prompt", "answer", "last_answer", "all", (0, 1), (-2, None), (1, 2))
"""Each token of a two-token prompt by itself, and every name."""


def gathered(case, *, parameters=False):
    needs = Needs(gradients=frozenset((case.loss, positions) for positions in POSITIONS))
    if parameters:
        needs = Needs(parameter_gradients=frozenset({case.loss}))
    return collect(case.model, case.examples, case.layers, needs, batch_size=3)


def test_value(logit_case):
    found = gathered(logit_case).losses[logit_case.loss]
    expected = [
        example_loss(logit_case.model, example, logit_case.loss).value.detach()
        for example in logit_case.encoded
    ]
    assert_close(found, torch.stack(expected), logit_case.bound, "losses")


def test_activation_gradient_at_chosen_positions(case):
    evidence = gathered(case)
    for positions in POSITIONS:
        found = evidence.gradients[case.loss, positions]
        for place, layer in enumerate(case.layers):
            expected = torch.stack([
                summed_gradient(case.model, example, case.loss, layer, positions)
                for example in case.encoded
            ])
            what = f"gradients at layer {layer}, positions {positions}"
            if reads_residual(case.loss) and not expected.any():
                assert not found[place].any(), what
                continue
            assert_close(found[place], expected, case.bound, what)


def test_activation_gradients_sum_to_the_selection_of_all(paired):
    by_side = activation_gradients(paired.model, paired.encoded[0], paired.loss, 1)
    assert set(by_side) == {"positive", "negative"}
    found = collect(
        paired.model,
        paired.examples,
        (1,),
        Needs(gradients=frozenset({(paired.loss, "all")})),
    ).gradients[paired.loss, "all"][0, 0]
    expected = by_side["positive"].sum(0) + by_side["negative"].sum(0)
    assert_close(found, expected, paired.bound, "summed gradients")


def test_parameter_gradient(logit_case):
    found = gathered(logit_case, parameters=True).parameter_gradients[logit_case.loss]
    expected = parameter_gradient(logit_case.model, logit_case.encoded, logit_case.loss)
    assert set(found) <= set(expected)
    scale = torch.stack([value.norm() for value in expected.values()]).norm()
    for name, value in found.items():
        # Relative to the whole gradient: single biases (of keys, say) have none but rounding.
        error = (value - expected[name]).norm() / scale
        assert error <= logit_case.bound, f"{name}: {error:.2e} of the norm of g"
    together = {name: found.get(name, torch.zeros_like(v)) for name, v in expected.items()}
    for name in set(expected) - set(found):
        assert _is_downstream(logit_case.model, name), name
        together[name] = expected[name]
    assert_close(_flat(together), _flat(expected), logit_case.bound, "g")


def _flat(values):
    return torch.cat([values[name].flatten() for name in sorted(values)])


def _is_downstream(model, name):
    known = dict(model.original_model.named_parameters())
    plain = {path.replace("._original_component", ""): p for path, p in known.items()}
    later = [p for part in (model.ln_final, model.unembed) for p in part.parameters()]
    dead = not any(plain[name] is p for p in later) and "qkv" in name
    return dead or any(plain[name] is p for p in later)
