"""`evaluate` against `Steering.apply`, several layers, free text, and bad input."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation.conftest import LETTERS, TEXTS, bridge_of, steering_of

from coldlens.directions import ColdFD, ColdJVP, ColdKernel
from coldlens.errors import ArgumentError, ColdlensError, DataError, ExampleError, SteeringError
from coldlens.evaluation import METRICS, Evaluation, Generation, Metric, evaluate
from coldlens.evaluation.bootstrap import interval
from coldlens.evaluation.generation import repetition
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.tokens import encode
from coldlens.losses import CrossEntropy

EXACT = 1e-10
METHODS = {
    "jvp": ColdJVP(),
    "difference": ColdFD(loss=CrossEntropy(), epsilon=0.01),
    "linear": ColdKernel(kernel="linear", positions="all"),
}


def applied(model, question, steering, layer, eta, positions):
    """Returns the probabilities of the next token inside `Steering.apply`."""
    with torch.no_grad(), steering.apply(model, layer=layer, eta=eta, positions=positions):
        return model(torch.tensor([question.prompt]))[0, -1].softmax(-1)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("layer", [1, -1, [0, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("positions", ["prompt", "last_prompt"])
def test_equals_steering_applied(method, layer, positions):
    model = bridge_of("llama")
    steering = method.fit(model, TEXTS)
    strength = steering.readings().norm(dim=-1).mean().item()
    eta = 2 / strength
    found = evaluate(
        model, LETTERS, steering, layer, eta, positions, metrics=["choice"], batch_size=2
    ).table
    for row, question in zip(found.itertuples(), encode(model, LETTERS), strict=True):
        expected = applied(model, question, steering, layer, eta, positions)
        assert row.p_positive == pytest.approx(expected[question.positive[0]].item(), abs=2e-5)
        assert row.p_negative == pytest.approx(expected[question.negative[0]].item(), abs=2e-5)
    assert np.abs(found.probability - found.unsteered_probability).max() > 1e-3


@pytest.mark.parametrize("positions", ["prompt", "all", "generated", "first_generated"])
def test_a_completion_is_read_as_if_generated(model, steering, positions):
    found = evaluate(model, TEXTS, steering, 1, 0.5, positions, metrics=["preference"]).table
    for row, question in zip(found.itertuples(), encode(model, TEXTS), strict=True):
        logs = []
        with torch.no_grad(), steering.apply(model, layer=1, eta=0.5, positions=positions):
            for place, token in enumerate(question.positive):
                ids = torch.tensor([question.prompt + question.positive[:place]])
                logs.append(model(ids)[0, -1].log_softmax(-1)[token].item())
            if len(logs) == 1:  # the block wants to see a generated token
                model(torch.tensor([question.sequence("positive")]))
        assert row.log_prob_positive == pytest.approx(np.mean(logs), abs=1e-5)


def test_answers_of_one_token_among_longer_ones_do_not_depend_on_the_batch(model, steering):
    assert {len(question.positive) > 1 for question in encode(model, TEXTS)} == {True, False}
    one, all_ = (
        evaluate(
            model, TEXTS, steering, 1, 0.5, "generated", metrics=["perplexity"], batch_size=size
        ).table
        for size in (1, 99)
    )
    assert one.nll.to_numpy() == pytest.approx(all_.nll.to_numpy(), abs=1e-5)


def test_without_steering_there_is_no_second_set_of_columns(model):
    table = evaluate(model, LETTERS).table
    assert not [name for name in table if name.startswith("unsteered_")]
    assert table.kl.eq(0).all()


def test_defaults_fit_the_questions(model):
    letters = ExampleSet(tuple(Example(e.prompt, e.positive, e.negative) for e in LETTERS))
    positive = ExampleSet(tuple(Example(e.prompt, e.positive) for e in TEXTS))
    for questions, column in (
        (LETTERS, "total_variation"),
        (letters, "probability"),
        (TEXTS, "margin"),
        (positive, "nll"),
    ):
        assert {column, "kl"} <= set(evaluate(model, questions).table)


def test_a_metric_of_ones_own(model, steering):
    @dataclass(frozen=True)
    class Entropy(Metric):
        def measure(self, reading, unsteered):
            return {"entropy": -(reading.answer.exp() * reading.answer).sum(-1)}

    table = evaluate(model, LETTERS, steering, 1, metrics=[Entropy()]).table
    assert list(table) == ["question", "entropy", "unsteered_entropy"]
    assert table.entropy.between(0, np.log(model.cfg.d_vocab)).all()


def test_summary_has_means_changes_and_intervals(model, steering):
    evaluation = evaluate(model, LETTERS, steering, 1, metrics=["choice"])
    row = evaluation.summary.loc["probability"]
    table = evaluation.table
    assert row["mean"] == pytest.approx(table.probability.mean())
    assert row["change"] == pytest.approx(
        (table.probability - table.unsteered_probability).mean(), abs=1e-7
    )
    assert row["low"] <= row["mean"] <= row["high"]
    assert row["change_low"] <= row["change"] <= row["change_high"]
    assert "DiffMean at [1]" in repr(evaluation)
    assert "<table" in evaluation._repr_html_()


def test_saved_and_loaded(model, steering, tmp_path):
    evaluation = evaluate(model, LETTERS, steering, 1, generation=Generation(max_new_tokens=2))
    evaluation.save(tmp_path / "evaluation")
    again = Evaluation.load(tmp_path / "evaluation")
    assert again.about == evaluation.about
    pd.testing.assert_frame_equal(again.table, evaluation.table, check_dtype=False)
    with pytest.raises(DataError, match=r"saved result of coldlens\.evaluate"):
        Evaluation.load(tmp_path)


def test_clusters_widen_the_intervals_and_come_back_as_labels(model, steering, tmp_path):
    labels = [("1", "NA"), ("1", "05"), ("2", "05"), ("2", "NA"), ("2", "")]
    labelled = replace(
        LETTERS,
        examples=tuple(replace(one, clusters=of) for one, of in zip(LETTERS, labels, strict=True)),
    )
    plain = evaluate(model, LETTERS, steering, 1, metrics=["choice"])
    found = evaluate(model, labelled, steering, 1, metrics=["choice"], batch_size=2)
    assert list(found.table)[:3] == ["question", "cluster_1", "cluster_2"]
    assert list(zip(found.table.cluster_1, found.table.cluster_2, strict=True)) == labels
    assert list(found.summary.index) == list(plain.summary.index)
    row, table = found.summary.loc["probability"], found.table
    steered, before = (
        table[name].to_numpy(float) for name in ("probability", "unsteered_probability")
    )
    assert (row.low, row.high) == interval(steered, labels)
    assert (row.change_low, row.change_high) == interval(steered - before, labels)
    assert (row.low, row.high) != tuple(plain.summary.loc["probability", ["low", "high"]])
    found.save(tmp_path / "evaluation")
    again = Evaluation.load(tmp_path / "evaluation")
    assert list(zip(again.table.cluster_1, again.table.cluster_2, strict=True)) == labels
    pd.testing.assert_frame_equal(again.summary, found.summary)


def test_free_text_is_what_the_steered_model_generates(model, steering):
    def judge(prompt, text):
        return float(len(text) - len(prompt))

    generation = Generation(judge, max_new_tokens=4)
    table = evaluate(
        model, TEXTS, steering, 1, 2.0, "all", metrics=["perplexity"], generation=generation
    ).table
    for row, question in zip(table.itertuples(), encode(model, TEXTS), strict=True):
        ids = torch.tensor([question.prompt])
        words = dict(max_new_tokens=4, do_sample=False, return_type="tokens", verbose=False)
        plain = model.generate(ids, **words)[0, len(question.prompt) :].tolist()
        with steering.apply(model, layer=1, eta=2.0, positions="all"):
            moved = model.generate(ids, **words)[0, len(question.prompt) :].tolist()
        assert row.text == model.tokenizer.decode(moved, skip_special_tokens=True)
        assert row.unsteered_text == model.tokenizer.decode(plain, skip_special_tokens=True)
        assert row.repetition == repetition(moved)
        prompt = model.tokenizer.decode(question.prompt, skip_special_tokens=True)
        assert row.score == len(row.text) - len(prompt)
    assert (table.text != table.unsteered_text).any()


def test_repetition_counts_pairs_that_came_before():
    assert repetition([1, 2, 1, 2, 1]) == pytest.approx(0.5)
    assert repetition([1, 2, 3]) == 0
    assert repetition([1]) == 0
    assert repetition([4, 4, 4, 4], n=1) == pytest.approx(0.75)


def test_the_interval_is_the_percentile_bootstrap():
    values = np.random.default_rng(3).normal(size=200)
    low, high = interval(values)
    generator = np.random.default_rng(11)
    means = [generator.choice(values, len(values)).mean() for _ in range(2000)]
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.02)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.02)
    assert interval(values) == (low, high)
    assert interval(np.array([1.0, np.nan, 1.0])) == (1.0, 1.0)
    assert np.isnan(interval(np.array([np.nan]))).all()


LONG = Example("red", options=(" yes please", " no"), distribution=(0.5, 0.5))


def bad(case, model, steering):
    """Runs one call with bad input."""
    calls = {
        "metric": lambda: evaluate(model, LETTERS, metrics=["accuracy"]),
        "no metric": lambda: evaluate(model, LETTERS, metrics=[]),
        "position": lambda: evaluate(model, LETTERS, steering, 1, positions="last"),
        "answer": lambda: evaluate(model, LETTERS, steering, 1, positions="answer"),
        "generated": lambda: evaluate(model, LETTERS, steering, 1, positions="generated"),
        "window": lambda: evaluate(model, LETTERS, steering, 1, positions=(60, 61)),
        "several tokens": lambda: evaluate(model, TEXTS, metrics=["choice"]),
        "same token": lambda: evaluate(
            model, ExampleSet((Example("red", " A", " A"),)), metrics=["choice"]
        ),
        "unpaired": lambda: evaluate(
            model, ExampleSet((Example("red", " A"),)), metrics=["preference"]
        ),
        "no group": lambda: evaluate(model, TEXTS, metrics=["distribution"]),
        "long option": lambda: evaluate(model, ExampleSet((LONG,))),
        "no distribution": lambda: replace(LONG, distribution=(0.5, 0.4)),
        "no layer": lambda: evaluate(model, LETTERS, steering),
        "no layers": lambda: evaluate(model, LETTERS, steering, []),
        "unfitted": lambda: evaluate(model, LETTERS, steering, 7),
        "no steering": lambda: evaluate(model, LETTERS, None, 1),
        "eta": lambda: evaluate(model, LETTERS, steering, 1, float("nan")),
        "batch": lambda: evaluate(model, LETTERS, batch_size=0),
        "length": lambda: Generation(max_new_tokens=0),
        "words": lambda: evaluate(
            model, LETTERS, generation=Generation(lambda *_: "good", max_new_tokens=1)
        ),
        "other model": lambda: evaluate(bridge_of("gpt2"), LETTERS, steering, 1),
        "zero": lambda: evaluate(model, LETTERS, steering * 0, 1),
        "zeros": lambda: evaluate(model, LETTERS, steering * 0, [0, 1]),
    }
    calls[case]()


BAD = {
    "metric": (ArgumentError, "found 'accuracy'"),
    "no metric": (ArgumentError, "at least one metric; found none"),
    "position": (ExampleError, "found 'last'"),
    "answer": (ExampleError, "found 'answer'"),
    "generated": (ExampleError, "answers of one token: it is read before it is generated"),
    "window": (ExampleError, "found none in row 0, whose prompt has"),
    "several tokens": (ExampleError, "positive of 3 tokens, negative of 1 token in question 0"),
    "same token": (ExampleError, "the same token"),
    "unpaired": (ExampleError, "negative"),
    "no group": (ExampleError, "found none in 4 of 4, first at index 0"),
    "long option": (ExampleError, "each option to be one token after the prompt"),
    "no distribution": (ExampleError, "which sum to 0.9"),
    "no layer": (ArgumentError, "found layer=None. Choose among the fitted layers"),
    "no layers": (ArgumentError, "at least one layer to steer; found none"),
    "unfitted": (ArgumentError, "found layer 7"),
    "no steering": (ArgumentError, "found layer=1 and steering=None"),
    "eta": (ArgumentError, "found eta = nan"),
    "batch": (ArgumentError, "found batch_size = 0"),
    "length": (ArgumentError, "found max_new_tokens = 0"),
    "words": (ArgumentError, "found 'good' from the judge"),
    "other model": (SteeringError, "found tiny-gpt2"),
    "zero": (SteeringError, "a displacement at layer 1 that is not zero"),
    "zeros": (SteeringError, "a displacement at layer 0 that is not zero"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case, model, steering):
    kind, text = BAD[case]
    with pytest.raises(ColdlensError) as caught:
        bad(case, model, steering)
    assert isinstance(caught.value, kind)
    assert text in str(caught.value)


def test_a_judge_is_called():
    generation = Generation()
    object.__setattr__(generation, "judge", 5)  # past the type checker of the tests
    with pytest.raises(ArgumentError, match="found judge = 5"):
        generation.__post_init__()


def test_each_metric_has_a_name_and_says_what_it_reads():
    for name, metric in METRICS.items():
        assert name in {"choice", "preference", "distribution", "kl", "perplexity"}
        assert set(metric.sides) <= {"positive", "negative"}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_the_columns_that_it_names(name, model):
    table = evaluate(model, LETTERS, metrics=[name]).table
    assert tuple(table.columns.drop("question")) == METRICS[name].columns


def test_the_model_in_training_mode_is_refused(steering):
    model = bridge_of("llama")
    model.original_model.train()
    try:
        with pytest.raises(ColdlensError, match=r"evaluation mode"):
            evaluate(model, LETTERS)
    finally:
        model.original_model.eval()


def test_questions_in_any_order_give_the_same(model, steering):
    turned = replace(LETTERS, examples=LETTERS.examples[::-1])
    one = evaluate(model, LETTERS, steering, 1, metrics=["choice"], batch_size=2).table
    other = evaluate(model, turned, steering, 1, metrics=["choice"], batch_size=5).table
    assert np.allclose(one.probability, other.probability[::-1], atol=1e-6)


def test_vectors_act_where_they_are_added(model):
    steering = steering_of(model, LETTERS)
    last = evaluate(model, LETTERS, steering, 2, 1.0, "last_prompt", ["choice"]).table
    whole = evaluate(model, LETTERS, steering, 2, 1.0, "prompt", ["choice"]).table
    assert np.allclose(last.probability, whole.probability, atol=EXACT**0.5)
