"""What a bound on memory chooses, and that it is kept, by the tensors that live."""

import logging
import re

import pytest
import torch
import zoo

from coldlens.capture import collect
from coldlens.capture.budget import MARGIN, WORKSPACE, Budget
from coldlens.capture.meter import SMALL, Meter, Profile, Size
from coldlens.compare.compare import compare_directions
from coldlens.directions import ColdFD, ColdJVP, ColdKernel
from coldlens.errors import ArgumentError
from coldlens.examples.example import Example, ExampleSet
from coldlens.gradients import Factored, Memory, packed
from coldlens.gradients.estimate import Share
from coldlens.gradients.form import Plan
from coldlens.losses import DPO, CrossEntropy
from coldlens.models.casting import cast
from coldlens.models.load import load_model

LOSSES = {"ce": CrossEntropy(), "dpo": DPO()}


def examples_of(count=6, prompt=20, answer=3):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(4, 40, (count, prompt + 2 * answer), generator=generator).tolist()
    return ExampleSet(
        tuple(
            Example(tuple(r[:prompt]), tuple(r[prompt : prompt + answer]), tuple(r[-answer:]))
            for r in rows
        )
    )


def chosen(caplog, method, model, examples, batch_size=8):
    """The steering, batch size and bytes that were said."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="coldlens"):
        steering = method.fit(model, examples, batch_size=batch_size)
    said = re.search(r"(\d+) examples? at once.*at most ([\d.]+) MB", caplog.text)
    assert said, caplog.text
    return steering, int(said[1]), float(said[2]) * 1e6


def room(tensors):
    """The budget that leaves so much for tensors."""
    return WORKSPACE + MARGIN * tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("loss", "size"), [("ce", 1), ("dpo", 4)])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "qwen2"])
def test_the_estimate_is_what_lives(caplog, name, loss, size, dtype):
    """Up to a tenth less, which the margin holds, at lengths far from those of the trials."""
    model, examples = zoo.bridge(name, dtype=dtype), examples_of(4, 40)
    with Meter() as meter:
        method = ColdFD(LOSSES[loss], 0.1, max_memory=1e9)
        _, batch, said = chosen(caplog, method, model, examples, size)
    assert batch == size
    estimated = (said - WORKSPACE) / MARGIN
    assert 0.9 < estimated / max(meter.levels) < 1.5, (estimated, max(meter.levels))


@pytest.fixture(scope="module")
def demo():
    return load_model("demo")


def test_less_memory_means_smaller_batches_then_low_rank(caplog, demo):
    found = []
    for tensors in (8e6, 4.5e6, 4e6, 2.2e6):
        method = ColdJVP(CrossEntropy(), max_memory=room(tensors))
        steering, batch, said = chosen(caplog, method, demo, examples_of())
        assert said <= method.max_memory + 1e5
        ranks = [p.rank for p in steering.direction.values() if isinstance(p, Factored)]
        assert bool(steering.truncation) == ("is truncated to rank" in caplog.text)
        found.append((batch, max(ranks, default=None)))
    (most, no), (fewer, still_no), (_, rank), (_, lower) = found
    assert no is still_no is None, found
    assert most > fewer > 1, found
    assert rank > lower > 0, found


def test_the_budget_that_an_error_names_will_do(demo):
    with pytest.raises(ArgumentError, match=r"max_memory of \d+ bytes or more") as error:
        ColdJVP(CrossEntropy(), max_memory=1000).fit(demo, examples_of())
    named = int(re.findall(r"max_memory of (\d+) bytes", str(error.value))[0])
    assert ColdJVP(CrossEntropy(), max_memory=named).fit(demo, examples_of()).truncation
    with pytest.raises(ArgumentError):
        ColdJVP(CrossEntropy(), max_memory=named - 1).fit(demo, examples_of())


def test_a_smaller_batch_gives_what_it_gives_when_asked_for(caplog, demo):
    bounded = ColdJVP(CrossEntropy(), max_memory=room(4.5e6))
    steering, batch, _ = chosen(caplog, bounded, demo, examples_of())
    plain = ColdJVP(CrossEntropy()).fit(demo, examples_of(), batch_size=batch)
    assert 1 < batch < 6
    for name, values in packed(plain.direction).items():
        assert torch.equal(values, packed(steering.direction)[name]), name


def looped(logits, batch):
    """A loss whose operations are as many as the tokens."""
    total = logits[: batch.size, 1].float().logsumexp(-1)
    for place in range(batch.tokens.shape[1]):
        total = total + logits[: batch.size, place, 0].float().square()
    return total


def test_a_loss_that_goes_through_tokens_is_tried_at_full_length(caplog):
    with Meter() as meter:
        method = ColdFD(looped, 0.1, max_memory=1e9)
        _, _, said = chosen(caplog, method, zoo.bridge("llama"), examples_of(4))
    assert max(meter.levels) < 1.1 * (said - WORKSPACE) / MARGIN  # it is said to 0.1 MB


def test_a_profile_extrapolates_what_is_largest_elsewhere():
    """A square overtakes a constant that is larger at every size of the trials."""

    def prepare(size):
        def run():
            torch.empty(100_000)
            torch.empty(size.examples, size.tokens, size.tokens)

        return run

    profile = Profile.of(prepare, Size(8, 500, 2))
    assert all(profile.peak(size) == pytest.approx(400_000) for size in SMALL)
    assert profile.peak(Size(8, 500, 2)) == pytest.approx(4 * 8 * 500**2)


def test_weights_that_are_cast_for_an_operation_count():
    weight, x = torch.ones(400, 100, dtype=torch.bfloat16), torch.ones(1, 100)
    with Meter() as meter:
        torch.nn.functional.linear(x, cast(weight, torch.float32))
    assert max(meter.levels) == 4 * (weight.numel() + 400)


def test_the_sum_of_what_is_no_outer_product_lives_beside_every_batch():
    memory = Memory({"w": Share(dense=10**6, products=10**5)}, others=10**7, itemsize=4)
    found = Budget(
        {CrossEntropy(): memory}, Size(4, 10, 2), Size(1, 10, 0), 40, 0, 0, lambda _: 0, lambda _: 0
    )
    found.__dict__["_reading"] = 0
    batch = Profile(torch.tensor([[5e7, 0, 0, 0, 0]]).double())
    plans = {CrossEntropy(): Plan(frozenset({"w"}))}
    for examples in (1, 2, 3):
        lives = 5e7 + 4 * 10**7 + (1 - examples / 4) * 4 * 10**5
        peak = found._peak(plans, batch, examples)
        assert peak == pytest.approx(room(lives), rel=1e-6)


def test_a_window_of_positions_beside_a_bound():
    model, examples = zoo.bridge("llama"), examples_of(4, 40)
    methods = [ColdKernel(positions=(10, 12)), ColdJVP(CrossEntropy(), max_memory=1e9)]
    bounded = compare_directions(model, examples, methods)
    assert len(bounded.table) == len(methods) * len(model.blocks)


def test_the_least_budget_holds_for_a_pass(demo):
    examples = examples_of()
    needs = ColdFD(CrossEntropy(), max_memory=1e9).needs(examples)
    needs = needs | ColdJVP(DPO(), max_memory=room(8e6)).needs(examples)
    assert collect(demo, examples, (3,), needs, batch_size=6).batch_size < 6
