"""One seeded fixture fed by the table of cases, and a check that models stay as they are."""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from exact.cases import ARCHITECTURES, CASES, LOSSES, Case, data_of, layers_of, model_of
from exact.tolerances import EXACT
from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.example import ExampleSet
from coldlens.examples.tokens import Encoded, encode


@dataclass(frozen=True)
class Setting:
    """A case with everything built.

    Attributes:
        model: The model, float64.
        examples: The examples.
        encoded: Their token ids.
        loss: The loss.
        layers: All layers.
        bound: The tolerance of the architecture.
    """

    model: TransformerBridge
    examples: ExampleSet
    encoded: list[Encoded]
    loss: object
    layers: tuple[int, ...]
    bound: float


@cache
def setting_of(case: Case) -> Setting:
    model, examples = model_of(case.model), data_of(case.model, case.data)
    encoded, bound = encode(model, examples), EXACT
    return Setting(model, examples, encoded, LOSSES[case.loss], layers_of(model), bound)


@pytest.fixture(params=CASES, ids=str)
def case(request) -> Setting:
    """Every row of the table."""
    return setting_of(request.param)


@pytest.fixture(params=[c for c in CASES if c.loss != "contrastive"], ids=str)
def logit_case(request) -> Setting:
    """Every row whose loss reads the logits, and so has a parameter gradient."""
    return setting_of(request.param)


@pytest.fixture(params=ARCHITECTURES)
def architecture(request) -> str:
    """Every architecture by name."""
    return request.param


@pytest.fixture
def paired(architecture) -> Setting:
    """Every architecture with DPO on pairs."""
    return setting_of(Case(architecture, "dpo", "paired"))


@pytest.fixture(params=[name for name in ARCHITECTURES if name != "demo"])
def small_paired(request) -> Setting:
    """Every tiny architecture with DPO on pairs."""
    return setting_of(Case(request.param, "dpo", "paired"))


@cache
def _values(model: TransformerBridge) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.original_model.parameters()]


@pytest.fixture(autouse=True)
def unchanged(request):
    """Fail where a test leaves a hook, a `.grad` or another value in the model it used."""
    names = [
        name
        for name in ("case", "logit_case", "paired", "small_paired")
        if name in request.fixturenames
    ]
    models = [request.getfixturevalue(name).model for name in names]
    before = [_values(model) for model in models]
    yield
    for model, values in zip(models, before, strict=True):
        parameters = list(model.original_model.parameters())
        assert len(parameters) == len(values)
        for parameter, value in zip(parameters, values, strict=True):
            assert parameter.grad is None
            assert parameter.requires_grad
            assert torch.equal(parameter, value)
        hooked = [name for name, point in model.hook_dict.items() if point._forward_hooks]
        assert not hooked
