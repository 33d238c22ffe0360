"""Whether a parameter gradient is more than the rounding noise of what cancelled in it."""

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.errors import NumericsError
from coldlens.gradients.direction import Direction, inner, norm
from coldlens.losses import Loss
from coldlens.models.double import in_double
from coldlens.models.guards import working_dtype
from coldlens.models.parameters import parameters

LARGEST = 0.1
"""The relative error from which a gradient is noise."""

_FIX = "Check that positive and negative completions differ to the model, or choose another loss"


def require_signal(
    model: TransformerBridge, evidence: Evidence, loss: Loss, gradient: Direction
) -> None:
    """Checks that a gradient g is neither zero nor noise.

    Where examples say nothing, as where two completions are alike to the model, large terms
    cancel in g. With terms of ‖θ‖‖g‖ about one, as for a loss of log-probabilities, the rounding
    of them is some u, the unit round-off, so that g is sound where ‖θ‖‖g‖ is above √u. Below, g is
    computed once more in float64 and compared.

    Args:
        model: The model.
        evidence: The examples.
        loss: The loss.
        gradient: g, for the parameters θ that it names.

    Raises:
        NumericsError: If g is zero, or off by a tenth or more.
    """
    size = norm(gradient)
    if size == 0:
        raise NumericsError(expected="a gradient that is not zero", found="norm 0", fix=_FIX)
    known, dtype = parameters(model), working_dtype(model)
    length = norm({name: known[name].tensor.detach() for name in gradient})
    if dtype == torch.float64 or size * length > torch.finfo(dtype).eps ** 0.5:
        return
    with in_double(model):
        needs = Needs(parameter_gradients=frozenset({loss}))
        again = collect(
            model,
            evidence.examples,
            evidence.layers,
            needs,
            batch_size=evidence.batch_size,
            encoded=evidence.encoded,
        )
    exact = again.parameter_gradients[loss]
    ours = {name: part.to(torch.float64) for name, part in gradient.items()}
    true = norm(exact)
    gap = max(0.0, norm(ours) ** 2 - 2 * inner(ours, exact) + true**2) ** 0.5
    if not gap < LARGEST * true:
        raise NumericsError(
            expected="a gradient that is more than rounding noise",
            found=f"norm {size:.1e}, off by {gap:.1e} from float64",
            fix=f"{_FIX}, or load the model in float64",
        )
