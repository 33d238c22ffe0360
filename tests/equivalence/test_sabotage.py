"""Each check fails where what it claims is made false, and only then."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import zoo
from exact.cases import data_of

from coldlens.directions import BiPO, intervention
from coldlens.equivalence import contrast, kernel_blocks, kernel_sum, preference, trained
from coldlens.equivalence.setting import Setting
from coldlens.equivalence.steps import step_rows
from coldlens.equivalence.verify import verify_equivalences
from coldlens.errors import ModelError
from coldlens.kernels.ntk import EmpiricalNTK
from coldlens.losses import DPO


def verdicts(check, setting):
    """Returns claim → whether it holds at all layers."""
    found = {}
    for row in check(setting):
        if getattr(row, "case", None) == "claim":
            found.setdefault(row.claim, True)
            found[row.claim] &= row.holds
    return found


def assert_broken(check, setting, *names):
    """Asserts that the claims of these checks do not hold."""
    for claim, holds in verdicts(check, setting).items():
        if claim in {name.claim for name in names}:
            assert not holds, claim


def one_norm_less(setting):
    """Returns an eNTK that forgets the first norm scale, unless it is the literal one."""
    model = setting.model
    dropped = next(n for n, p in model.original_model.named_parameters() if p.ndim == 1)
    dropped = dropped.replace("._original_component", "")

    def build(*args, method="structured", **kwargs):
        if method == "structured":
            kwargs["params"] = lambda name: name != dropped
        return EmpiricalNTK(*args, method=method, **kwargs)

    return build


@pytest.mark.parametrize(
    "check",
    [
        contrast.contrast_rows,
        step_rows,
        kernel_sum.kernel_sum_rows,
        kernel_blocks.kernel_block_rows,
        preference.preference_rows,
        trained.trained_rows,
    ],
)
def test_all_hold_without_sabotage(setting, check):
    assert all(verdicts(check, setting).values())


def test_without_the_stop_gradient(setting, monkeypatch):
    monkeypatch.setattr(contrast, "CLOSED", contrast.OPEN)
    names = (contrast.MEAN, contrast.COMPONENT, contrast.JOINT)
    assert_broken(contrast.contrast_rows, setting, *names)


def test_a_norm_scale_less_in_the_kernel(setting, monkeypatch):
    for module in (kernel_sum, kernel_blocks):
        monkeypatch.setattr(module, "EmpiricalNTK", one_norm_less(setting))
    assert_broken(kernel_sum.kernel_sum_rows, setting, kernel_sum.SUM, kernel_sum.TIED)
    assert_broken(kernel_blocks.kernel_block_rows, setting, kernel_blocks.SAME)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_compatibility_mode_is_refused(name):
    model = zoo.bridge(name)
    model.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(ModelError, match=r"raw numerics for .*compatibility mode"):
        verify_equivalences(model, data_of(name, "paired"))


def test_a_displacement_that_is_a_thousandth_off(setting, monkeypatch):
    exact = {layer: 1.001 * found for layer, found in setting.displacements.items()}
    monkeypatch.setattr(Setting, "displacements", property(lambda _: exact))
    assert not any(verdicts(step_rows, setting).values())


@pytest.mark.parametrize("setting", ["gpt2"], indirect=True)
@pytest.mark.parametrize("factor", [0.0, 0.99])
def test_a_wrong_tied_part(setting, monkeypatch, factor):
    assert setting.model.original_model.config.tie_word_embeddings
    true = kernel_sum._gradient_with_stream_held

    def scaled(*args):
        return {name: factor * value for name, value in true(*args).items()}

    monkeypatch.setattr(kernel_sum, "_gradient_with_stream_held", scaled)
    assert_broken(kernel_sum.kernel_sum_rows, setting, kernel_sum.TIED)


class Skewed(EmpiricalNTK):
    """An eNTK whose blocks are neither symmetric nor semi-definite."""

    def cross_block(self, layer, query, example, side="positive"):
        return super().cross_block(layer, query, example, side).triu()

    def self_block(self, layer, query):
        block = super().self_block(layer, query)
        values = torch.linalg.eigvalsh(block)
        return block - (values[0] + 1e-9 * values[-1]) * torch.eye(len(block)).to(block)


def test_blocks_that_are_no_kernel(setting, monkeypatch):
    monkeypatch.setattr(kernel_blocks, "EmpiricalNTK", Skewed)
    names = (kernel_blocks.SYMMETRIC, kernel_blocks.DEFINITE)
    assert_broken(kernel_blocks.kernel_block_rows, setting, *names)


class Unreferenced(DPO):
    """DPO that never has a reference, whatever it is told."""

    def __post_init__(self):  # noqa: D105
        object.__setattr__(self, "reference", "none")


def test_dpo_without_reference(setting, monkeypatch):
    monkeypatch.setattr(preference, "DPO", Unreferenced)
    assert_broken(preference.preference_rows, setting, preference.SAME)


def test_a_vector_at_other_positions(setting, monkeypatch):
    shifted = partial(intervention.select, (0, 1))
    monkeypatch.setattr(intervention, "select", lambda _, *masks: shifted(*masks))
    assert_broken(trained.trained_rows, setting, trained.REFT, trained.BIPO)


def test_another_loss_while_training(setting, monkeypatch):
    true = BiPO.objective

    def doubled(*args):
        objective = true(*args)
        return lambda *given: 2 * objective(*given)

    monkeypatch.setattr(BiPO, "objective", doubled)
    assert_broken(trained.trained_rows, setting, trained.BIPO)


def test_float32_is_not_exact(setting, monkeypatch):
    """Counter-case of the tolerances: single precision is beyond them."""
    kernel = EmpiricalNTK(setting.model, [(1, 2, 3)], setting.pair, 1)
    block = kernel.self_block(1, 0)
    row = kernel_blocks.SAME.equal(1, block.float(), block, setting.rounding, "rounded")
    assert not row.holds
    assert replace(row, holds=True).verdict == "holds"
