"""Metrics and judges of one's own: what they may return, and what is said of the rest."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.conftest import LETTERS, TEXTS, bridge_of

import coldlens as cl
from coldlens.errors import ArgumentError
from coldlens.evaluation import Generation, Metric, evaluate
from coldlens.evaluation.planned import CheckedEvaluation
from coldlens.models.generate import answer
from coldlens.sweep.bank import Bank, Grid

GIVEN = {
    "None": lambda n: None,
    "array": lambda n: np.zeros(n),
    "tensor": lambda n: torch.zeros(n),
    "nothing": lambda n: {},
    "list": lambda n: {"a": [0.0] * n},
    "float": lambda n: {"a": 1.0},
    "array column": lambda n: {"a": np.zeros(n)},
    "single": lambda n: {"a": torch.tensor(1.0)},
    "long": lambda n: {"a": torch.zeros(n + 1)},
    "square": lambda n: {"a": torch.zeros(n, n)},
    "complex": lambda n: {"a": torch.zeros(n, dtype=torch.complex64)},
    "number": lambda n: {1: torch.zeros(n)},
    "question": lambda n: {"question": torch.zeros(n)},
    "text": lambda n: {"text": torch.zeros(n)},
    "unsteered": lambda n: {"unsteered_kl": torch.zeros(n)},
    "cluster": lambda n: {"cluster_1": torch.zeros(n)},
    "split": lambda n: {"split": torch.zeros(n)},
    "same": lambda n: {"kl": torch.zeros(n)},
    "bool": lambda n: {"a": torch.arange(n) > 0},
    "half": lambda n: {"a": torch.arange(n, dtype=torch.bfloat16)},
    "integer": lambda n: {"a": torch.arange(n)},
    "double": lambda n: {"a": torch.arange(n).double()},
    "gradient": lambda n: {"a": torch.arange(n).float().requires_grad_()},
    "unknown": lambda n: {"a": torch.full((n,), float("nan"))},
}
BAD = {
    "None": "found None. Return a dictionary of tensors",
    "array": "found array([0., 0., 0., 0., 0.])",
    "tensor": "found tensor([0., 0., 0., 0., 0.])",
    "nothing": "found no column",
    "list": "found list as 'a'",
    "float": "found float as 'a'",
    "array column": "found ndarray as 'a'",
    "single": "found torch.float32 of shape () as 'a'",
    "long": "tensor of shape (5,)}, a real number a question; found torch.float32 of shape (6,)",
    "square": "found torch.float32 of shape (5, 5) as 'a'",
    "complex": "found torch.complex64 of shape (5,) as 'a'",
    "number": "found 1 as the name of a column",
    "question": "found 'question', which stands for something else in a table",
    "text": "found 'text', which",
    "unsteered": "found 'unsteered_kl', which",
    "cluster": "found 'cluster_1', which",
    "split": "found 'split', which",
    "same": "found 'kl', which a metric before it gives too",
}


@dataclass(frozen=True)
class Own(Metric):
    case: str

    def measure(self, reading, unsteered):
        return GIVEN[self.case](len(reading.encoded))


@pytest.mark.parametrize("case", BAD)
def test_evaluate_and_sweep_name_what_a_metric_does_wrong(model, case):
    with pytest.raises(ArgumentError) as caught:
        evaluate(model, LETTERS, metrics=["kl", Own(case)])
    assert BAD[case] in str(caught.value)
    assert f"Own(case='{case}')" in str(caught.value)
    grid = Grid((1,), (1.0,), "raw", "prompt", ("kl", Own(case)), batch_size=5)
    with pytest.raises(ArgumentError) as again:
        Bank(model, {"test": LETTERS}, grid).unsteered()
    assert str(again.value) == str(caught.value)


@pytest.mark.parametrize("case", ["bool", "half", "integer", "double", "gradient"])
def test_every_kind_of_number_is_measured(model, case):
    found = evaluate(model, LETTERS, metrics=[Own(case)])
    wanted = [0, 1, 1, 1, 1] if case == "bool" else [0, 1, 2, 3, 4]
    assert sorted(found.table.a) == wanted
    assert found.table.a.dtype == ("float64" if case == "double" else "float32")
    assert found.summary.loc["a", "mean"] == np.mean(wanted)


def test_a_measurement_that_is_unknown_everywhere_is_nan(model, steering):
    summary = evaluate(model, LETTERS, steering, 1, metrics=["kl", Own("unknown")]).summary
    assert summary.loc["a"].isna().all()
    assert summary.loc["kl"].notna().all()


class WorkedError(Exception):
    """Something was measured."""


@pytest.fixture
def idle(monkeypatch):
    """Fails where something is measured."""

    def run(self, progress):
        raise WorkedError

    monkeypatch.setattr(CheckedEvaluation, "run", run)


def test_declared_columns_are_checked_before_any_work(model, idle):
    @dataclass(frozen=True)
    class Named(Metric):
        columns = ("score",)

        def measure(self, reading, unsteered):
            return {}

    @dataclass(frozen=True)
    class Misspelt(Named):
        columns = ("a",)
        sides = ("postive",)  # pyright: ignore[reportAssignmentType]

    for metrics, text in (
        ([Named()], "found 'score', which stands"),
        (["kl", "kl"], "found 'kl', which a metric before it gives too"),
        ([Misspelt()], "found sides = 'postive'"),
    ):
        with pytest.raises(ArgumentError) as caught:
            evaluate(model, LETTERS, metrics=metrics)
        assert text in str(caught.value)
    with pytest.raises(WorkedError):
        evaluate(model, LETTERS)


@pytest.mark.parametrize(
    ("judge", "found"),
    [
        (lambda text: 1.0, r"a judge that takes \(text\)\. Write judge\(prompt, answer\)"),
        (lambda prompt, text, style: 1.0, r"a judge that takes \(prompt, text, style\)\. Write"),
        (len, r"a judge that takes \(obj, /\)\. Write"),
        (3, r"judge = 3\. Pass Generation\(max_new_tokens=…\)"),
    ],
    ids=["one", "three", "in C", "no function"],
)
def test_a_judge_takes_a_prompt_and_an_answer(judge, found):
    generation = Generation()
    object.__setattr__(generation, "judge", judge)  # past the type checker of the tests
    with pytest.raises(ArgumentError, match=f"a prompt and an answer, or None; found {found}"):
        generation.__post_init__()
    Generation(max)  # a function in C that does not say what it takes
    Generation(lambda prompt, text, style="plain": 1.0)


@pytest.mark.parametrize("verdict", [np.zeros(3), torch.zeros(2), torch.zeros(1), None, "good"])
def test_a_verdict_is_a_number(model, verdict):
    generation = Generation(lambda prompt, text: verdict, max_new_tokens=1)
    with pytest.raises(ArgumentError, match=r"a number for each answer; found .* from the judge"):
        evaluate(model, LETTERS, generation=generation)


@pytest.mark.parametrize("verdict", [2, True, np.float32(0.5), np.array(1.5), torch.tensor(2.5)])
def test_every_kind_of_number_is_a_verdict(model, verdict):
    generation = Generation(lambda prompt, text: verdict, max_new_tokens=1)
    table = evaluate(model, LETTERS[:2], generation=generation).table
    assert table.score.tolist() == [float(verdict)] * 2


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_answers_beyond_the_context_are_refused_before_any_work(name, idle):
    model = bridge_of(name)
    context = model.cfg.n_ctx
    longest = max(len(one.prompt) for one in cl.examples.tokens.encode(model, LETTERS))
    with pytest.raises(ArgumentError) as caught:
        evaluate(model, LETTERS, generation=Generation(max_new_tokens=context - longest + 2))
    assert f"at most {context} tokens, the model's context" in str(caught.value)
    assert f"found a prompt of {longest} tokens and max_new_tokens = " in str(caught.value)
    assert f"Ask for max_new_tokens <= {context - longest + 1}" in str(caught.value)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_answer_may_fill_the_context_and_its_last_token_go_beyond(name):
    model = bridge_of(name)
    one, read = TEXTS[:1], []
    (encoded,) = cl.examples.tokens.encode(model, one)
    room = model.cfg.n_ctx - len(encoded.prompt) + 1
    steering = cl.DiffMean().fit(model, one)

    def judge(prompt, text):
        read.append(text)
        return 1.0

    evaluate(model, one, steering, 1, generation=Generation(judge, max_new_tokens=room))
    assert len(read) == 2
    made = answer(model, encoded.prompt, room)
    assert len(encoded.prompt) + len(made) == model.cfg.n_ctx + 1


def test_the_guides_loss_and_metric(model):
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    own = guide.split("## Your own loss")[1]
    loss, metric = re.findall(r"```python\n(.*?)```", own, re.DOTALL)
    names = {"cl": cl, "model": model, "examples": TEXTS, "__name__": __name__}
    exec(loss, names)
    exec(metric, names)
    table = evaluate(model, TEXTS, names["steering"], 1, metrics=[names["Entropy"]()]).table
    assert table.entropy.between(0, np.log(model.cfg.d_vocab)).all()
    (one,) = cl.examples.tokens.encode(model, TEXTS[:1])
    batch = cl.examples.batch.batch_of([one], [0], ("positive", "negative"))
    with torch.no_grad():
        (found,) = names["entropy"](model(batch.tokens, attention_mask=batch.attention_mask), batch)
        logits = model(torch.tensor([one.sequence("positive")]))[0]
    answer = logits[len(one.prompt) - 1 : -1].softmax(-1)
    wanted = torch.distributions.Categorical(answer).entropy().mean()
    assert torch.allclose(found, wanted, atol=1e-6)
