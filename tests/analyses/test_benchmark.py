"""The benchmark's own parts: subjects, the literal COLD-FD, what bounds say, and a tiny run."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import analyses.benchmark as benchmark
from analyses.benchmark import Benchmark, Main, literal, parts, steered, tables
from analyses.benchmark.promises import Bound, promised
from analyses.benchmark.subject import Size, Subject
from analyses.benchmark.tables import along, bounds, growth, ratios
from analyses.peers.driver import Peers
from coldlens.directions import ColdFD
from coldlens.errors import ArgumentError
from coldlens.examples.batch import pad
from coldlens.examples.tokens import encode
from coldlens.losses import CrossEntropy
from coldlens.models.load import load_model
from coldlens.models.precision import full_precision
from coldlens.results import loaded

TINY = Size(64, 2, 12, 5)
EXACT = 1e-12
"""Float64 against float64 in another order."""
STEP = 1e-4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Returns bridge and Hugging Face model in float64, with larger weights, and the folder."""
    folder = tmp_path_factory.mktemp("subject")
    TINY.save(folder)
    network = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for values in network.parameters():
            values *= 10 if values.ndim > 1 else 1
    network.save_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    return load_model(folder, device="cpu", dtype=torch.float64), network, folder


@pytest.fixture
def accurate(made):
    """Yields the same; Hugging Face computes no part in float32 meanwhile."""
    with full_precision(made[0]):
        yield made


def test_a_subject_is_what_it_says(accurate):
    model, _, folder = accurate
    encoded = encode(model, TINY.pairs())
    lengths = [len(one.sequence("positive")) for one in encoded]
    assert all(9 <= length <= 15 for length in lengths)
    assert len(set(lengths)) > 1
    assert {len(one.positive) for one in encoded} == {1}
    texts = json.loads((folder / "pairs.json").read_text())
    plain = AutoTokenizer.from_pretrained(folder)
    read = [tuple(plain(text).input_ids) for pair in texts for text in pair]
    ours = [one.sequence(side) for one in encoded for side in ("positive", "negative")]
    assert sorted(read) == sorted(ours)
    assert [len(ids) for ids in read] == sorted(map(len, ours))
    assert " ".join(f"w{token}" for token in read[0]) == texts[0][0].strip()
    assert TINY.pairs().hash() == TINY.pairs().hash() != TINY.pairs(seed=1).hash()


def test_the_literal_gradient_is_that_of_the_fit(accurate):
    model, network, _ = accurate
    encoded = encode(model, TINY.pairs())
    g = literal.gradient(network, encoded)
    fitted = ColdFD(CrossEntropy(), epsilon=STEP, gradient="dense").fit(model, TINY.pairs())
    assert len(fitted.direction) == len(g) - 2  # all but the final norm and the unembedding
    for name, part in fitted.direction.items():
        torch.testing.assert_close(part, g[name], rtol=0, atol=EXACT)
    other = literal.gradient(network, encoded[1:])
    assert (other["model.embed_tokens.weight"] - g["model.embed_tokens.weight"]).norm() > 0.01
    assert all(values.grad is None for values in network.parameters())


@pytest.mark.parametrize("layer", [0, 1])
def test_the_literal_steering_is_that_of_apply(accurate, layer):
    model, network, _ = accurate
    fitted = ColdFD(CrossEntropy(), epsilon=STEP).fit(model, TINY.pairs())
    tokens, mask = pad([one.prompt for one in encode(model, TINY.pairs(seed=1))])
    g = literal.gradient(network, encode(model, TINY.pairs()))
    found = literal.steered(network, g, [(tokens, mask)], layer, 0.01, STEP)
    plain, other = (
        literal.steered(network, g, [(tokens, mask)], *at, STEP)
        for at in ((layer, 0.0), (1 - layer, 0.01))
    )
    with torch.no_grad(), fitted.apply(model, layer=layer, eta=0.01):
        logits = model(tokens, attention_mask=mask, return_type="logits", use_cache=False)
    expected = logits[torch.arange(len(tokens)), mask.sum(1) - 1]
    torch.testing.assert_close(found, expected, rtol=0, atol=EXACT / STEP)
    assert min((plain - expected).abs().max(), (other - expected).abs().max()) > 1e-3


def measurements(**seconds):
    """Makes a table `times` of one part with three repetitions of each computation."""
    rows = [
        {
            "part": "vectors",
            "what": what,
            **asdict(TINY),
            "parameters": 2_500_000,
            "repetition": repetition,
            "seconds": value,
            "peak_mb": 2 * value,
        }
        for what, values in seconds.items()
        for repetition, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_ratios_are_of_the_same_repetition():
    times = measurements(ours=(1.0, 20.0, 3.0), other=(2.0, 10.0, 4.0))
    found = ratios(times, [Bound("vectors", "ours", "other", 0.8, None, times=2)])
    assert found.measured.tolist() == [0.375] * 2
    assert found.low.tolist() == [0.25] * 2
    assert found.high.tolist() == [1.0] * 2
    assert found.limit[0] == 0.8
    assert np.isnan(found.limit[1])
    assert found.claim[0] == "ours / 2 × other, time, 2.5 M"
    assert len(ratios(times, [Bound("vectors", "ours", "neither", 1.0)])) == 0


def agreements(value):
    columns = tables.AGREEMENT
    row = ("ours", "other", pd.NA, "cosine", value, ">=", 0.9999)
    return pd.DataFrame([row], columns=columns).assign(parameters=2_500_000)


@pytest.mark.parametrize(("limit", "cosine", "held"), [(0.5, 1.0, True), (0.49, 0.999, False)])
def test_bounds_hold_or_not(limit, cosine, held):
    times = measurements(ours=(1.0,), other=(2.0,))
    compared = ratios(times, [Bound("vectors", "ours", "other", limit)])
    found = bounds(compared, agreements(cosine))
    assert found.holds.dropna().tolist() == [held, held]
    assert found.claim.iloc[-1] == "ours and other, worst cosine, 2.5 M"
    assert found.holds.isna().tolist() == [False, True, False]


def test_what_is_promised_depends_on_the_layer():
    found = {
        (bound.what, bound.against): bound.time
        for bound in promised(Size(256, 8, 64, 50), (3,), 4)
        if bound.time is not None
    }
    assert found["DiffMean", "steering-vectors"] == 1.0
    assert found["ColdFD @ layer 3", "unsteered"] == pytest.approx(1.575)
    assert found["ColdJVP @ layer 3", "unsteered"] == pytest.approx(3)
    assert found["sweep", "one cell, one by one"] == 0.18


def test_agreement_of_vectors_can_fail():
    class Fitted:
        def __init__(self, vectors):
            self.vector = vectors.__getitem__

    def compared(turned, size=TINY):
        vectors = torch.eye(4)[: TINY.layers]
        peer = {layer: vectors[layer] + turned for layer in range(TINY.layers)}
        found = {
            "DiffMean": Fitted(vectors),
            "RepE": Fitted(-vectors),
            "steering-vectors": peer,
            "repeng": peer,
        }
        subject = type("Named", (), {"size": size, "parameters": 1})()
        return tables.agreement(subject, {"vectors": found})

    same, other = compared(0.0), compared(torch.tensor([0.0, 0.0, 0.1, 0.0]))
    assert (
        compared(torch.tensor([-2.0, -2.0, 0.0, 0.0])).query("what == 'DiffMean'").value < 0
    ).all()
    assert same[["what", "layer"]].to_numpy().tolist() == [
        ["DiffMean", 0],
        ["DiffMean", 1],
        ["RepE", 0],  # the last layer of repeng is another thing
    ]
    assert (same.value >= same.limit).all()
    assert (other.value < other.limit).all()
    wide = compared(0.0, Size(576, 2, 12, 5))  # where repeng's PCA is an estimate
    assert wide.limit.isna().tolist() == [False, False, True]


def test_growth_of_power_laws():
    centre = Size(64, 2, 16, 8)
    base = {"part": "vectors", "what": "DiffMean", "repetition": 0}
    rows = [
        {**base, **asdict(centre), axis: size, "seconds": size**power, "peak_mb": 2.0 * size}
        for axis, power in (("d", 2.0), ("tokens", 1.0))
        for size in (16, 32, 64)
    ]
    rows.append({**base, **asdict(centre), "layers": 7, "seconds": 1e9, "peak_mb": 1e9})
    lines = along(pd.DataFrame(rows).drop_duplicates(["d", "tokens", "layers"]), centre, ["d"])
    assert lines["size"].tolist() == [16, 32, 64]
    found = growth(lines).set_index("measure").exponent
    assert found["time"] == pytest.approx(2)
    assert found["peak"] == pytest.approx(1)


def test_refused_settings(tmp_path):
    with pytest.raises(ArgumentError, match="repetitions"):
        Benchmark(tmp_path, repetitions=0).run()


def test_without_peers_it_says_so(tmp_path, caplog):
    caplog.set_level("INFO", "coldlens")
    with Benchmark(tmp_path, peers=False)._started() as peers:
        assert peers is None
    assert "left out" in caplog.text


@pytest.mark.slow
def test_a_tiny_run_with_peers(tmp_path, monkeypatch, fake_peers):
    monkeypatch.setattr(benchmark, "_peers", lambda: fake_peers)
    monkeypatch.setattr(benchmark, "MAIN", (Main(Size(64, 2, 24, 8), (0,), 4),))
    monkeypatch.setattr(benchmark, "AXES", {"d": (64, 128)})
    monkeypatch.setattr(benchmark, "CENTRE", Size(64, 2, 16, 8))
    threads = torch.get_num_threads()
    found = Benchmark(tmp_path, repetitions=2).run()
    assert torch.get_num_threads() == threads
    times = found["times"]
    assert (times.seconds > 0).all()
    assert set(times.part) == {"vectors", "fits", "paired fits", "answers", "grid"}
    assert set(times.query("part == 'vectors'").what) >= {"steering-vectors", "repeng"}
    kept = found["bounds"].set_index("what").query("part == 'agreement'").holds
    assert not kept["DiffMean"]  # what the fake returns
    assert kept["ColdJVP"]
    assert kept["one cell"]
    assert set(found["growth"]["axis"]) == {"d"}
    saved, about = loaded(tmp_path / "random" / "benchmark", Benchmark.drawing.kind)
    assert len(saved["times"]) == len(times)
    assert about["settings"] == {"quick": False, "peers": True, "repetitions": 2}
    assert about["peers"] == {"steering-vectors": "0"}
    assert about["machine"]["cores"] >= 1
    assert str(tmp_path) not in json.dumps(about)


def test_every_promise_is_of_something_that_is_measured():
    size = Size(64, 2, 8, 4)
    subject = Subject(size, None)
    subject.peers = Peers([])  # never started
    measured = {
        "vectors": parts.vectors(subject),
        "fits": parts.fits(subject),
        "paired fits": parts.paired_fits(subject),
        "answers": steered.answers(subject, (0, 1)),
        "grid": steered.grid(subject),
    }
    names = {(part, name) for part, calls in measured.items() for name in calls}
    for bound in promised(size, (1,), 4):
        assert (bound.part, bound.what) in names
        assert (bound.part, bound.against) in names
