"""A report, and settings to run single checks in."""

import pytest
from equivalence.reports import verified
from exact.cases import data_of, layers_of, model_of

from coldlens.equivalence.report import Equivalences
from coldlens.equivalence.setting import Setting
from coldlens.losses import DPO
from coldlens.models.double import in_double


@pytest.fixture
def report() -> Equivalences:
    """One report."""
    return verified("gpt2")


@pytest.fixture(params=["llama", "gpt2"])
def setting(request):
    """A setting to run single checks in: an untied and a tied model, float64."""
    model, examples = model_of(request.param), data_of(request.param, "paired")
    layers = layers_of(model)
    with in_double(model):
        yield Setting(model, examples, layers, layers[1:], DPO(), 1, 0, False)
