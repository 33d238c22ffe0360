"""OpinionsQA's own files with a small language model: loader, loss, fit and evaluation."""

from pathlib import Path

import pytest
import torch

from coldlens.datasets import load_examples
from coldlens.directions import ColdKernel
from coldlens.evaluation import evaluate
from coldlens.examples.tokens import encode
from coldlens.losses import OptionDistribution
from coldlens.models.load import load_model

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
GROUP = "opinions_qa/POLPARTY/Democrat"
LAYER = 2


@pytest.fixture(scope="module")
def model():
    if not STORIES.is_dir():
        pytest.skip(f"no {STORIES}")
    return load_model(STORIES)


@pytest.fixture
def examples(real):
    return load_examples(GROUP, n=6, folder=real)


def test_the_divergence_is_that_of_the_hugging_face_model(model, examples):
    table = evaluate(model, examples, metrics=["distribution"]).table
    for row, example, ids in zip(
        table.itertuples(), examples, encode(model, examples), strict=True
    ):
        assert len(ids.options) == len(example.options) >= 2
        with torch.no_grad():
            logits = model.original_model(torch.tensor([ids.prompt])).logits[0, -1]
        odds = [logits[token].double().exp().item() for token in ids.options]
        shares = [one / sum(odds) for one in odds]
        apart = [abs(p - q) for p, q in zip(shares, example.distribution, strict=True)]
        assert row.total_variation == pytest.approx(sum(apart) / 2, abs=1e-5)


def test_a_small_step_lowers_the_divergence_by_the_squared_gradient(model, examples):
    steering = ColdKernel().fit(model, examples, LAYER)
    assert steering.provenance.loss == repr(OptionDistribution())
    square = steering.vector(LAYER).double().square().sum().item()
    eta = 1e-3 / square
    found = evaluate(model, examples, steering, LAYER, eta, "last_prompt").summary
    assert found.change["kl_from_group"] == pytest.approx(-1e-3, rel=0.05)


def test_fit_on_one_split_and_evaluate_on_another(model, examples, real):
    test = load_examples(GROUP, "test", n=4, folder=real)
    assert not {one.prompt for one in examples} & {one.prompt for one in test}
    steering = ColdKernel().fit(model, examples, LAYER)
    evaluation = evaluate(model, test, steering, LAYER, 1.0)
    assert {"total_variation", "kl_from_group", "kl"} <= set(evaluation.table)
    assert evaluation.table.total_variation.between(0, 1).all()
    assert evaluation.about["examples_name"] == GROUP
