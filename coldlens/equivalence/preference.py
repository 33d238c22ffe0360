"""E9: with the model as its own reference, β does not matter to the direction of DPO."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from coldlens.capture import Needs
from coldlens.directions import ColdJVP
from coldlens.equivalence.rows import Case, Check, Row
from coldlens.equivalence.setting import Setting
from coldlens.losses import DPO, Reference

SAME = Check("E9", 'ColdJVP of DPO(reference="self"): one direction for any beta')
BETAS = (0.1, 10.0)


def preference_rows(setting: Setting) -> Iterator[Row]:
    """Checks that unit displacements under two β are equal, within `Setting.rounding`.

    With the model as reference σ′ is taken at 0 for every example, so that g is −(β/2) times one
    gradient. Without a reference the weights σ(−β m) differ from example to example.

    Args:
        setting: The setting.

    Yields:
        For each layer the claim, and as counter-case the same without a reference.
    """
    if not setting.examples.paired:
        yield SAME.absent("needs negative completions; some example has none")
        return
    references: tuple[tuple[Case, Reference], ...] = (("claim", "self"), ("counter", "none"))
    losses = {
        reference: [DPO(beta=beta, reference=reference) for beta in BETAS]
        for _, reference in references
    }
    wanted = frozenset(loss for pair in losses.values() for loss in pair)
    evidence = setting.evidence(Needs(parameter_gradients=wanted))
    tokens, mask = setting.prompts

    def units(loss: DPO) -> dict[int, Float[Tensor, "token d"]]:
        steering = ColdJVP(loss).solve(setting.model, evidence)
        found = steering.field(tokens, mask, setting.layers)
        return {layer: found[layer][mask] / found[layer][mask].norm() for layer in setting.layers}

    for case, reference in references:
        left, right = (units(loss) for loss in losses[reference])
        detail = f'reference="{reference}", beta {BETAS[0]} and {BETAS[1]}'
        if case == "counter":
            weights = torch.sigmoid(-BETAS[1] * _margins(evidence.losses[losses[reference][1]]))
            detail += f": weights from {weights.min():.1e} to {weights.max():.1e}"
        for layer in setting.layers:
            yield SAME.equal(layer, left[layer], right[layer], setting.rounding, detail, case)


def _margins(values: Float[Tensor, " example"]) -> Float[Tensor, " example"]:
    """Returns m⁺ − m⁻, from ℓ = −log σ(β (m⁺ − m⁻))."""
    return -torch.expm1(values).log() / BETAS[1]
