"""`kernel_agreement` against blocks and displacements written out, in float64."""

import logging

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from exact.cases import DATA, model_of
from exact.closeness import assert_close

from coldlens.agreement.agreement import kernel_agreement
from coldlens.agreement.ladder import RUNGS
from coldlens.agreement.report import KernelAgreement
from coldlens.directions import ColdJVP, ColdKernel
from coldlens.errors import ArgumentError, DataError, ExampleError, ModelError
from coldlens.examples.example import Example
from coldlens.examples.tokens import encode
from coldlens.losses import DPO, ContrastiveSquaredError, NegativeCrossEntropy
from coldlens.references import activation_gradients, jacobian

EXACT = 1e-9
EXAMPLES = DATA["paired"][:3]
LOSS = DPO(beta=0.7)
QUERIES = ((1, 30, 35), (12, 13, 14, 15, 16))
ARCHITECTURES = ("llama", "gpt2", "gemma2")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request):
    return model_of(request.param)


@pytest.fixture(scope="module")
def report(model):
    return kernel_agreement(model, EXAMPLES, [0, 1], QUERIES, loss=LOSS)


@pytest.fixture(scope="module")
def literal(model):
    """Jacobians, gradients and the exact displacement at layer 1, written out."""
    return Literal(model, 1)


class Literal:
    """Jacobians of all tokens, one row at a time."""

    def __init__(self, model, layer):  # noqa: D107
        self.encoded = encode(model, EXAMPLES)
        self.queries = [self.rows(model, ids, layer, len(ids) - 1) for ids in QUERIES]
        self.examples, self.gradients = [], []
        for example in self.encoded:
            found = activation_gradients(model, example, LOSS, [layer])[layer]
            self.gradients.append(found)
            self.examples.append(
                {
                    side: [
                        self.rows(model, example.sequence(side), layer, t)
                        for t in range(len(example.sequence(side)))
                    ]
                    for side in found
                }
            )
        steering = ColdJVP(LOSS).fit(model, EXAMPLES, [layer])
        self.exact = steering.readings(QUERIES)[0]

    @staticmethod
    def rows(model, ids, layer, position):
        found = jacobian(model, ids, layer, position)
        return torch.cat([rows.flatten(1) for rows in found.values()], 1)

    def last(self, example):
        return len(self.encoded[example].prompt) - 1

    def block(self, query, example):
        return self.queries[query] @ self.examples[example]["positive"][self.last(example)].T

    def contributions(self, query):
        """Returns −K ∂ᵢ[t]/N by example, side and token."""
        found = {}
        for example, sides in enumerate(self.examples):
            for side, rows in sides.items():
                for t, right in enumerate(rows):
                    gradient = self.gradients[example][side][t]
                    moved = -self.queries[query] @ (right.T @ gradient) / len(self.examples)
                    found[example, side, t] = moved
        return found

    def end_gradient(self, example):
        return sum(g[self.last(example)] for g in self.gradients[example].values())


def at(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def test_pairs_have_the_figures_of_their_blocks(report, literal):
    for query in range(2):
        for example in range(3):
            block = literal.block(query, example)
            (row,) = at(report.table, layer=1, query=query, example=example).itertuples()
            identity = torch.eye(16, dtype=torch.float64)
            assert row.scale == pytest.approx(block.trace().item() / 16, rel=EXACT)
            alignment = (block * identity).sum() / block.norm() / identity.norm()
            assert row.alignment == pytest.approx(alignment.item(), rel=EXACT)
            rest = (block - row.scale * identity).norm() / block.norm()
            assert row.residual == pytest.approx(rest.item(), rel=EXACT)
            assert not row.same_prompt


def rung_of(literal, rung, query):
    count = len(literal.examples)
    if rung == "full":
        return sum(literal.contributions(query).values())
    if rung == "last_position":
        return -sum(literal.block(query, i) @ literal.end_gradient(i) for i in range(count)) / count
    scales = [[literal.block(q, i).trace() / 16 for i in range(count)] for q in range(2)]
    if rung == "scalar":
        return -sum(scales[query][i] * literal.end_gradient(i) for i in range(count)) / count
    mean = sum(map(sum, scales)) / (2 * count)
    return -mean * sum(literal.end_gradient(i) for i in range(count)) / count


@pytest.mark.parametrize("rung", RUNGS)
def test_rungs_are_the_sums_that_define_them(report, literal, rung):
    for query in range(2):
        expected, exact = rung_of(literal, rung, query), literal.exact[query]
        (row,) = at(report.ladder, layer=1, query=query, rung=rung).itertuples()
        cosine = torch.cosine_similarity(expected, exact, dim=0).item()
        assert row.cosine == pytest.approx(cosine, abs=EXACT)
        assert row.norm_ratio == pytest.approx((expected.norm() / exact.norm()).item(), rel=EXACT)
        error = ((expected - exact).norm() / exact.norm()).item()
        assert row.relative_error == pytest.approx(error, abs=EXACT)


def test_the_constant_rung_is_cold_kernel_up_to_scale(model, report):
    vectors = ColdKernel(LOSS).fit(model, EXAMPLES, [0, 1]).vectors
    exact = ColdJVP(LOSS).fit(model, EXAMPLES, [0, 1]).readings(QUERIES)
    expected = torch.cosine_similarity(vectors.unsqueeze(1), exact, dim=-1)
    found = at(report.ladder, rung="constant").cosine.to_numpy().reshape(2, 2)
    assert_close(torch.tensor(found), expected, EXACT)


def test_each_share_is_that_of_one_token(report, literal):
    for query in range(2):
        moved = literal.contributions(query)
        total = sum(moved.values())
        expected = {}
        for (example, side, t), value in moved.items():
            position = t - literal.last(example)
            place = (example, "prompt" if position <= 0 else side, position)
            share = (value @ total / total.square().sum()).item()
            expected[place] = expected.get(place, 0.0) + share
        rows = at(report.positions, layer=1, query=query)
        found = {(r.example, r.side, r.position): r.share for r in rows.itertuples()}
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, abs=EXACT)


def test_shares_sum_to_one(report):
    totals = report.positions.groupby(["layer", "query"]).share.sum()
    assert len(totals) == 4
    assert totals.to_numpy() == pytest.approx(np.ones(4), abs=EXACT)


def test_a_layer_has_the_figures_of_its_kernels_and_gradients(report, literal):
    shares = []
    for query, rows in enumerate(literal.queries):
        values = torch.linalg.svdvals(rows).square()
        shares.append(values / values.sum())
        found = at(report.spectra, layer=1, query=query).sort_values("rank").eigenvalue_share
        assert_close(torch.tensor(found.to_numpy()), shares[-1], EXACT, "spectrum")
    (row,) = at(report.by_layer, layer=1).itertuples()
    ranks = [(-(p * p.log()).sum()).exp().item() for p in shares]
    assert row.effective_rank == pytest.approx(np.mean(ranks), rel=1e-6)
    assert row.top_eigenvalue_share == pytest.approx(np.mean([p[0].item() for p in shares]))
    scales = np.array([literal.block(q, i).trace() / 16 for q in range(2) for i in range(3)])
    assert row.scale_variation == pytest.approx(scales.std() / scales.mean())
    ends = torch.stack([literal.end_gradient(i) for i in range(3)])
    units = ends / ends.norm(dim=1, keepdim=True)
    cosines = [(units[i] @ units[j]).item() for i in range(3) for j in range(i)]
    assert row.coherence == pytest.approx(np.mean(cosines))
    singular = torch.linalg.svdvals(ends)
    assert row.first_singular_share == pytest.approx((singular[0] / singular.sum()).item())


def test_a_loss_of_the_residual_stream_is_its_own_kernel_sum():
    report = kernel_agreement(
        model_of("llama"), EXAMPLES, [1], QUERIES, loss=ContrastiveSquaredError()
    )
    assert report.about["exact"] == "the kernel sum"
    assert (at(report.ladder, rung="full").relative_error == 0).all()
    # The loss reads the completions alone: at the last prompt token there is no gradient.
    assert (at(report.ladder, rung="last_position").norm_ratio == 0).all()
    assert at(report.ladder, rung="constant").cosine.isna().all()
    assert at(report.positions, side="positive").share.sum() == pytest.approx(2)
    assert "nan" in report.summary()
    report.plot()


def test_without_queries_the_prompts_of_the_examples_are_asked():
    model = model_of("llama")
    many = [
        Example(f"the user {word}", " help", " no")
        for word in "asks cat dog hide go stay red".split()
    ]
    report = kernel_agreement(model, [*many, many[0]], 0)
    prompts = [list(e.prompt) for e in encode(model, type(EXAMPLES).of(many))]
    assert report.token_ids["queries"] == [prompts[place] for place in (0, 1, 2, 4, 5)]
    assert report.table.same_prompt.sum() == 6
    assert report.about["queries_from"] == "prompts of the examples"


def test_strings_are_queries_too():
    model = model_of("llama")
    report = kernel_agreement(model, EXAMPLES, [0], ["the cat", "a dog stay"], loss=LOSS)
    assert [len(ids) for ids in report.token_ids["queries"]] == [3, 4]
    assert report.about["queries_from"] == "given"


def test_both_algorithms_agree(model, report):
    other = kernel_agreement(model, EXAMPLES, [0, 1], QUERIES, loss=LOSS, method="jacobian")
    pd.testing.assert_frame_equal(other.table, report.table, rtol=EXACT)
    pd.testing.assert_frame_equal(other.ladder, report.ladder, rtol=EXACT, atol=EXACT)


def test_save_and_load_give_the_same_report(report, tmp_path):
    folder = report.save(tmp_path / "deep" / "report")
    again = KernelAgreement.load(folder)
    for name in ("table", "ladder", "by_layer", "spectra", "positions"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(report, name), rtol=1e-14)
    assert again.token_ids == report.token_ids
    assert again.about == report.about
    assert again.summary() == report.summary()
    again.save(folder)
    assert {path.name for path in folder.parent.iterdir()} == {"report"}


def test_saving_never_overwrites_a_strangers_folder(report, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds something else"):
        report.save(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "ladder.csv", "token_ids.json"])
def test_a_damaged_report_is_an_error(report, tmp_path, name):
    folder = report.save(tmp_path / "report")
    (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match="saved result of kernel_agreement"):
        KernelAgreement.load(folder)
    with pytest.raises(DataError, match="FileNotFoundError"):
        KernelAgreement.load(tmp_path / "nothing")


def test_the_summary_has_the_numbers_of_the_tables(report, model):
    text = report.summary()
    means = at(report.ladder, layer=1).groupby("rung").cosine.mean()
    assert f"layer 1: {' | '.join(f'{means[rung]:.3f}' for rung in RUNGS)}; most is lost" in text
    before = at(report.positions, layer=1)
    before = 100 * before[before.position < 0].share.sum() / 2
    assert f"{before:.0f} % (layer 1)" in text
    assert ("The embedding is tied" in text) == report.about["tied_embedding"]
    assert report.about["tied_embedding"] == model.original_model.config.tie_word_embeddings


def test_the_report_shows_itself(report):
    assert len(repr(report)) < 200
    assert "last_position" in report._repr_html_()
    plt.close("all")
    assert len(report.plot().axes) == 4
    assert plt.get_fignums() == []


def test_the_cost_is_said_before_the_work(caplog):
    with caplog.at_level(logging.INFO, "coldlens"):
        report = kernel_agreement(model_of("llama"), EXAMPLES, [0], QUERIES, loss=LOSS)
    assert report.about["cost"] in caplog.text
    assert "3 examples (6 sequences, 44 tokens)" in report.about["cost"]


def test_the_model_is_left_as_it_was(model):
    before = {name: p.detach().clone() for name, p in model.original_model.named_parameters()}
    kernel_agreement(model, EXAMPLES, [2], QUERIES, loss=LOSS)
    for name, parameter in model.original_model.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])
    assert not [name for name, point in model.hook_dict.items() if point._forward_hooks]


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"queries": []}, ExampleError, "a list of at least one prompt"),
        ({"queries": "the cat"}, ExampleError, "a list of at least one prompt"),
        ({"queries": [(1, 999)]}, ExampleError, "token ids between 0 and"),
        ({"layers": 3}, ArgumentError, "layers between 0 and 2"),
        ({"layers": []}, ArgumentError, "at least one layer"),
        ({"examples": []}, ExampleError, "at least one example"),
        (
            {"examples": DATA["positive"], "loss": NegativeCrossEntropy()},
            ExampleError,
            "a negative completion in every example",
        ),
    ],
)
def test_bad_arguments_are_errors(changed, error, text):
    arguments = {"examples": EXAMPLES, "layers": [0], "queries": QUERIES, **changed}
    with pytest.raises(error, match=text):
        kernel_agreement(model_of("llama"), **arguments)


def test_a_model_in_another_state_is_an_error():
    model = model_of("llama", torch.float32)
    model.train()
    try:
        with pytest.raises(ModelError, match="evaluation mode"):
            kernel_agreement(model, EXAMPLES)
    finally:
        model.eval()
    model.compatibility_mode = True
    try:
        with pytest.raises(ModelError, match="raw numerics for kernel_agreement"):
            kernel_agreement(model, EXAMPLES)
    finally:
        model.compatibility_mode = False
