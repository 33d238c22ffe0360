"""Slow, literal references: each fast computation of coldlens written out from its formula.

They are for checking, not for use on large models: one sequence at a time without padding, plain
hooks, reverse mode on the model's own parameters, and real copies of the model where parameters
move. They share nothing with the fast code but the token ids of the examples (`encode`) and the
names of losses, and they leave the model, its `.grad` and its hooks as they were.

- `example_loss`: the losses in `coldlens.losses`;
- `activation_gradients`, `parameter_gradient`: what `collect` gathers;
- `jacobian`, `jacobian_displacement`: `ColdJVP`;
- `finite_difference`: `ColdFD`;
- `fine_tuned`, `parameter_change`: `FineTune`;
- `diff_mean`, `principal_direction`, `joint_principal_direction`: `DiffMean`, `RepE`, `ICV`;
- `identity_kernel`, `linear_kernel`: `ColdKernel`;
- `reft_vector`, `reft_mlp`, `bipo_vector`: the trained interventions;
- `logistic_gradient`, `logistic_weights`: `Probe`;
- `jacobian_given`, `difference_given`, `linear_kernel_given`: several layers at once.
"""

from coldlens.references.contrast import (
    answer_mean,
    diff_mean,
    joint_principal_direction,
    principal_direction,
)
from coldlens.references.difference import (
    fine_tuned,
    finite_difference,
    moved_copy,
    parameter_change,
)
from coldlens.references.forward import ParameterValues, named_parameters, run
from coldlens.references.given import difference_given, jacobian_given, linear_kernel_given
from coldlens.references.gradients import activation_gradients, parameter_gradient
from coldlens.references.jacobian import jacobian, jacobian_displacement, jacobian_row
from coldlens.references.kernel import identity_kernel, linear_kernel, summed_gradient
from coldlens.references.losses import ExampleLoss, example_loss, log_probability
from coldlens.references.positions import position_indices
from coldlens.references.probe import logistic_gradient, logistic_weights, unit_scale
from coldlens.references.training import bipo_vector, reft_mlp, reft_vector

__all__ = [
    "ExampleLoss",
    "ParameterValues",
    "activation_gradients",
    "answer_mean",
    "bipo_vector",
    "diff_mean",
    "difference_given",
    "example_loss",
    "fine_tuned",
    "finite_difference",
    "identity_kernel",
    "jacobian",
    "jacobian_displacement",
    "jacobian_given",
    "jacobian_row",
    "joint_principal_direction",
    "linear_kernel",
    "linear_kernel_given",
    "log_probability",
    "logistic_gradient",
    "logistic_weights",
    "moved_copy",
    "named_parameters",
    "parameter_change",
    "parameter_gradient",
    "position_indices",
    "principal_direction",
    "reft_mlp",
    "reft_vector",
    "run",
    "summed_gradient",
    "unit_scale",
]
