"""E1 to E3: contrastive directions are COLD-Kernel under the contrastive squared error."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from coldlens.capture import Evidence
from coldlens.directions import ICV, ColdKernel, DiffMean, RepE
from coldlens.equivalence.rows import Case, Check, Row
from coldlens.equivalence.setting import Setting
from coldlens.losses import DPO, ContrastiveSquaredError
from coldlens.steering.static import StaticSteering

CLOSED, OPEN = ContrastiveSquaredError(), ContrastiveSquaredError(stop_gradient=False)
MEAN = Check("E1", "DiffMean = ColdKernel(ContrastiveSquaredError, answer)")
COMPONENT = Check("E2", "RepE = ± first principal component of ColdKernel gradients")
JOINT = Check("E3", "ICV = the same component, over the layers together")
OTHER = DPO()


def contrast_rows(setting: Setting) -> Iterator[Row]:
    """Checks DiffMean, RepE and ICV against activation gradients.

    Both sides of E1 are short sums over the same activations, equal within `Setting.rounding`. A
    principal component of E2 and E3 moves by up to r σ₁/(σ₁ − σ₂) for a relative error r of the
    matrix (Wedin 1972), and by r σ₁²/(σ₁² − σ₂²) when it is read from the Gram matrix, as the
    right side is: the tolerance is the sum of the two.

    Args:
        setting: The setting.

    Yields:
        For each layer a claim and a counter-case: the loss without its stop-gradient, whose
        gradients at the two sequences cancel (E1), or the gradients of DPO (E2, E3).
    """
    if not setting.examples.paired:
        for check in (MEAN, COMPONENT, JOINT):
            yield check.absent("needs negative completions; some example has none")
        return
    kernels = [ColdKernel(CLOSED, "answer"), ColdKernel(OPEN, "answer"), ColdKernel(OTHER, "all")]
    needs = DiffMean().needs(setting.examples)
    for kernel in kernels:
        needs |= kernel.needs(setting.examples)
    evidence = setting.evidence(needs)
    means = _vectors(setting, DiffMean(), evidence)
    closed, opened, _ = kernels
    sides: tuple[tuple[Case, ColdKernel, str], ...] = (
        ("claim", closed, "with the stop-gradient"),
        ("counter", opened, "without the stop-gradient: the gradients cancel"),
    )
    for case, kernel, detail in sides:
        left = _vectors(setting, kernel, evidence)
        for place, layer in enumerate(setting.layers):
            yield MEAN.equal(layer, left[place], means[place], setting.rounding, detail, case)

    samples: tuple[tuple[Case, Tensor, str], ...] = (
        ("claim", -evidence.gradients[CLOSED, "answer"], "same loss"),
        ("counter", -evidence.gradients[OTHER, "all"], f"gradients of {OTHER}"),
    )
    for center in (True, False):
        single = _vectors(setting, RepE(center), evidence)
        joint = _vectors(setting, ICV(center), evidence).flatten()
        for case, gradients, what in samples:
            detail = f"center={center}, {what}"
            for place, layer in enumerate(setting.layers):
                left, right, growth = _components(single[place], gradients[place], center)
                tolerance = setting.rounding * growth
                yield COMPONENT.equal(layer, left, right, tolerance, detail, case)
            joined = gradients.transpose(0, 1).flatten(1)
            left, right, growth = _components(joint, joined, center)
            yield JOINT.equal(None, left, right, setting.rounding * growth, detail, case)


def _vectors(
    setting: Setting, method: DiffMean | RepE | ICV | ColdKernel, evidence: Evidence
) -> Float[Tensor, "layer d"]:
    steering = method.solve(setting.model, evidence)
    assert isinstance(steering, StaticSteering)
    return steering.vectors


def _components(
    direction: Float[Tensor, " d"], samples: Float[Tensor, "example d"], center: bool
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], float]:
    """Reads the first principal component of the samples from their Gram matrix.

    Args:
        direction: What it is compared with.
        samples: The samples.
        center: Whether their mean is subtracted.

    Returns:
        The direction with the sign of the component, the component, and by how much a relative
        error of the samples grows in it.
    """
    matrix = samples - samples.mean(0) if center else samples
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    component = matrix.T @ vectors[:, -1]
    component = component / component.norm()
    first, second = values[-1].clamp_min(0).sqrt(), values[-2].clamp_min(0).sqrt()
    growth = first / (first - second) + first**2 / (first**2 - second**2)
    sign = -1.0 if direction @ component < 0 else 1.0
    return sign * direction, component, growth.item()
