"""Losses and their gradients against the formulas written out token by token."""

import torch
from exact.closeness import assert_close

from coldlens.capture import Needs, collect
from coldlens.references import (
    activation_gradients,
    example_loss,
    named_parameters,
    parameter_gradient,
    position_indices,
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


def test_activation_gradients_at_chosen_positions(case):
    evidence = gathered(case)
    by_example = [
        activation_gradients(case.model, example, case.loss, case.layers)
        for example in case.encoded
    ]
    for positions in POSITIONS:
        found = evidence.gradients[case.loss, positions]
        for place, layer in enumerate(case.layers):
            expected = torch.stack(
                [
                    _summed(by_side[layer], len(example.prompt), positions)
                    for example, by_side in zip(case.encoded, by_example, strict=True)
                ]
            )
            what = f"gradients at layer {layer}, positions {positions}"
            assert_close(found[place], expected, case.bound, what)


def _summed(by_side, prompt, positions):
    chosen = [
        gradient[position_indices(positions, prompt, len(gradient) - prompt)].sum(0)
        for gradient in by_side.values()
    ]
    return torch.stack(chosen).sum(0)


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
        # A bridge may keep dead copies of fused weights; the rest is downstream of every layer.
        assert not expected[name].any() or _is_downstream(logit_case.model, name), name
        together[name] = expected[name]
    assert_close(_flat(together), _flat(expected), logit_case.bound, "g")


def _flat(values):
    return torch.cat([values[name].flatten() for name in sorted(values)])


def _is_downstream(model, name):
    last = [id(p) for part in (model.ln_final, model.unembed) for p in part.parameters()]
    return id(named_parameters(model)[name]) in last
