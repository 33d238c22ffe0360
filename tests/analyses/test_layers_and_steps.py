"""Predictions of several steps at their order, several layers given each other, and the run."""

import pandas as pd
import pytest
import torch
from exact.cases import INPUTS, data_of, model_of

from analyses.layer_tables import FromStep, Separately, eta_of, stepped, total_length
from analyses.layers_and_steps import LayersAndSteps
from analyses.step_tables import Descent, steps_table
from coldlens.directions import ColdJVP
from coldlens.evaluation import evaluate
from coldlens.examples.batch import pad
from coldlens.examples.tokens import encode
from coldlens.losses import DPO
from coldlens.models.forward import residuals
from coldlens.references import moved_copy, run
from coldlens.steering.intervention import Intervention
from coldlens.steering.parametric import TangentSteering

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return model_of("llama")


@pytest.fixture(scope="module")
def examples():
    return data_of("llama", "paired")


def fitted(model, examples):
    steering = ColdJVP(DPO(), gradient="dense").fit(model, examples)
    assert isinstance(steering, TangentSteering)
    return steering


def distance(left, right):
    return torch.stack([(left[name] - right[name]).norm() for name in left]).norm().item()


@pytest.mark.parametrize("reference", ["none", "self"])
@pytest.mark.parametrize(
    ("prediction", "order"), [("first", 1), ("halfway", 2), ("hessian", 2)], ids=str
)
def test_order_of_each_prediction_in_the_learning_rate(
    model, examples, prediction, order, reference
):
    descent, steps, errors = Descent(model, examples, DPO(0.7, reference)), 4, []
    for lr in (1e-5, 1e-6):
        found = getattr(descent, prediction)
        guess = found if prediction == "first" else found(steps, lr)
        errors.append(distance(descent.path(steps, lr), guess))
    assert 0.8 * 10**order < errors[0] / errors[1] < 1.2 * 10**order, errors


def test_with_one_step_all_predictions_are_one(model, examples):
    table = steps_table(model, examples, examples, DPO(), [1], [0.1])
    linear = table[table.prediction != "one large step"]
    spread = linear.groupby("layer").relative_error.agg(["min", "max"])
    assert (spread["max"] - spread["min"]).max() < 1e-12
    assert (spread["min"] > 1e-6).all()
    assert (table[table.prediction == "one large step"].relative_error == 0).all()
    assert (table.passes == 1).all()


@pytest.mark.parametrize(("way", "order"), [("jointly", 2), ("separately", 1)])
def test_layers_given_each_other_act_as_the_deepest_alone(model, examples, way, order):
    """Up to η², whereas displacements that do not know of each other count twice."""
    steering = fitted(model, examples)
    if way == "separately":
        steering = Separately(steering.origin, steering.direction)
    tokens, mask = pad(INPUTS)
    deepest, layers = steering.layers[-1], steering.layers
    plain = residuals(model, tokens, mask, [deepest])[0][deepest]
    alone = steering.field(tokens, mask, (deepest,))[deepest]
    errors = []
    for eta in (1e-4, 1e-5):
        given = Intervention(layers, eta, mask)
        changes = steering.field(tokens, mask, layers, given)

        def edit(layer, residual, given=given, changes=changes):
            return given.applied(layer, residual, changes[layer])

        with torch.no_grad():
            moved = residuals(model, tokens, mask, layers, edit=edit)[0][deepest]
        errors.append((moved - plain - eta * alone)[mask].norm().item())
    assert 0.8 * 10**order < errors[0] / errors[1] < 1.2 * 10**order, errors


@pytest.mark.parametrize("layers", [(1,), (0, 2), (0, 1, 2)], ids=str)
def test_total_length_is_what_was_asked(model, examples, layers):
    steering = fitted(model, examples)
    eta = eta_of(steering, layers, 0.2)
    assert total_length(steering, layers, eta) == pytest.approx(0.2, rel=1e-2)
    assert total_length(steering, layers, 2 * eta) != pytest.approx(0.2, rel=0.5)


def test_distance_from_a_model_that_took_the_step():
    # Its embedding is tied, so the step moves the unembedding too.
    model, examples = model_of("gemma2"), data_of("gemma2", "paired")
    steering = fitted(model, examples)
    eta, last = 0.3, len(model.blocks) - 1
    metric = FromStep(model, stepped(steering, eta))
    found = evaluate(model, examples, metrics=[metric]).table
    copy = moved_copy(model, steering.direction, -eta)
    for place, one in enumerate(encode(model, examples)):
        with torch.no_grad():
            streams, moved = run(copy, one.prompt)
            _, streamed = run(model, one.prompt, {last: lambda _, kept=streams[last]: kept})
            _, plain = run(model, one.prompt)
        for column, logits in (("kl_from_step", moved), ("kl_from_stream", streamed)):
            new, old = logits[-1].log_softmax(-1), plain[-1].log_softmax(-1)
            expected = (new.exp() * (new - old)).sum().item()
            assert found[column][place] == pytest.approx(expected, rel=1e-8)
    assert (found.kl_from_step - found.kl_from_stream).abs().min() > 1e-6


def test_a_small_run(tmp_path):
    settings = {"behaviours": ("refusal",), "n": 3, "steps": (1, 2), "lrs": (0.1,)}
    settings |= {"lengths": (0.3,), "etas": (0.3,), "questions": 4, "prompts": 2}
    tables = LayersAndSteps(tmp_path / "out", **settings).run()
    folder = tmp_path / "out" / "demo" / "layers_and_steps"
    expected = {*(f"{name}.csv" for name in tables), "result.json"}
    assert {path.name for path in folder.iterdir()} == expected
    steps, layers, contrasts = (tables[name] for name in ("steps", "layers", "contrasts"))
    assert len(steps) == 2 * 4 * 5
    assert list(layers.way) == ["single"] * 4 + ["jointly"] * 4 + ["separately"] * 4
    assert layers.groupby("way").chosen.sum().eq(1).all()
    best = layers[layers.chosen].set_index("way").probability
    assert contrasts.set_index("way").probability.to_dict() == pytest.approx(
        {way: best[way] - best["single"] for way in ("jointly", "separately")}
    )
    again = pd.read_csv(folder / "layers.csv")
    assert again.probability.tolist() == pytest.approx(layers.probability.tolist())
