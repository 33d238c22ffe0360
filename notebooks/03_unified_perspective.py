# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 3. One perspective on many directions, checked
#
# COLD-Steer claims more than a new direction. It says that the known ones are special cases: take
# the right loss and the right kernel, and out come the mean difference, the principal component,
# the first step of a trained vector. Such claims are easy to state and easy to get wrong by a
# sign, a factor, or a token. This notebook tests them by computing both sides, on a real model, in
# float64.
#
# ## The general form
#
# Every direction here has the shape
#
# $$ \Delta_l(x) = -\frac{1}{N}\sum_i \kappa(x, x_i)\,\frac{\partial \ell_i}{\partial Z_l(x_i)} $$
#
# and differs in the loss $\ell$, the kernel $\kappa$, the tokens that are read and what is done
# with the terms.
#
# ## One of them by hand
#
# DiffMean is the mean difference of activations between the two completions. Where is its loss?
# Take the contrastive squared error, which rewards the two for being far apart:
#
# $$ \ell_i = -\tfrac{1}{2}\,\bigl\lVert \overline{Z_l}(x_i\oplus y_i^+) -
#    \operatorname{sg}\,\overline{Z_l}(x_i\oplus y_i^-) \bigr\rVert^2 . $$
#
# Its negative gradient with respect to $\overline{Z_l}(x_i\oplus y_i^+)$ is the difference itself.
# Here $\operatorname{sg}$ stops the gradient: the negative side is a constant. With $\kappa = 1$
# the mean over examples is DiffMean, exactly.

# %%
import pandas as pd
from IPython.display import Markdown
from transformers.utils import logging

import coldlens as cl

logging.disable_progress_bar()
pd.options.display.float_format = "{:.2e}".format
pd.options.display.max_colwidth = None

model = cl.load_model("demo")
examples = cl.load_examples("demo/sycophancy", n=20)
layer = 2

difference = cl.DiffMean().fit(model, examples).vector(layer)


def by_kernel(stop_gradient: bool):
    """Returns COLD-Kernel with the identity kernel under the contrastive squared error."""
    loss = cl.ContrastiveSquaredError(stop_gradient=stop_gradient)
    return cl.ColdKernel(loss, positions="answer").fit(model, examples).vector(layer)


with_stop, without_stop = by_kernel(True), by_kernel(False)
print(
    f"‖DiffMean − ColdKernel‖ / ‖DiffMean‖      {(difference - with_stop).norm() / difference.norm():.1e}"
)
print(f"‖ColdKernel without sg‖ / ‖DiffMean‖      {without_stop.norm() / difference.norm():.1e}")

# %% tags=["hide-input"]
assert (difference - with_stop).norm() < 1e-6 * difference.norm()
assert without_stop.norm() < 1e-6 * difference.norm()

# %% [markdown]
# The second line is the important one. Without the stop-gradient both completions get a gradient,
# the two are opposite, and their sum is nothing. It is a *counter-case*: the same comparison with
# one ingredient taken away, which must fail. A check that cannot fail shows nothing; a tolerance
# that is too wide, or two sides that are both zero, would pass it just as well.
#
# ## All ten
#
# | check | claim | what is taken away in the counter-case |
# |---|---|---|
# | E1 | DiffMean = ColdKernel under the contrastive squared error | the stop-gradient |
# | E2 | RepE = first principal component of those gradients, up to sign | gradients of another loss |
# | E3 | ICV = the same, with the layers as one long vector | gradients of another loss |
# | E4 | ColdFD tends to ColdJVP, its error like ε (forward) or ε² (central) | each scheme is held to the other's order |
# | E5 | the kernel sum over all tokens = ColdJVP, up to what E6 adds | all tokens but the last of the prompt |
# | E6 | with a tied embedding, kernel sum + the part of $g$ through the unembedding = ColdJVP | that part |
# | E7 | a real step = η · ColdJVP + O(η²) | half of the displacement |
# | E8 | structured eNTK = contraction of Jacobians; it is symmetric and semi-definite | a parameter, a transpose, the trace |
# | E9 | with the model as its own reference, DPO's direction does not depend on β | the reference |
# | E10 | the first SGD step of a ReFT or BiPO vector = ColdKernel over the steered tokens | the start at zero |
#
# Tolerances are derived, not tuned: from the unit round-off and the length of a computation, or
# from the next term of a series. `verify_equivalences` computes both sides of everything in
# float64.

# %%
checks = cl.verify_equivalences(model, examples)
checks

# %% tags=["hide-input"]
claims = checks.table.query("case == 'claim'")
counters = checks.table.query("case == 'counter'")
equal = claims.relative_error.max()
nearest = counters.relative_error.min()
slopes = claims.query("check == 'E7'").slope

assert checks.all_hold
assert equal < 1e-10 and nearest > 1e4 * equal

Markdown(
    f"All {len(claims)} claims hold, and all {len(counters)} counter-cases fail. The two sides of an "
    f"equality differ by at most {equal:.0e}; the nearest counter-case is off by {nearest:.0e}, so "
    "nothing passes by a wide tolerance. The remainder of a real step falls with a slope that differs "
    f"from the claimed 2 by at most {(slopes - 2).abs().max():.3f}."
)

# %% [markdown]
# `all_hold` asks for both: every claim holds *and* every counter-case fails. Where a check says
# nothing about a model (no tied embedding, no pairs), it is reported as not applicable and counts
# neither way.
#
# ## The curves behind E4 and E7

# %%
checks.plot(layer=2)

# %% [markdown]
# Read the left panel from right to left. A large step is wrong because the model is curved; the
# error falls with the order of the scheme. Then rounding takes over, and grows as the step
# shrinks, since a difference of two nearly equal numbers is divided by a small one. The lower the
# precision, the earlier this happens.

# %% tags=["hide-input"]
curves = checks.curves.query("check == 'E4' and layer == 2 and scheme == 'forward'")
lowest = curves.groupby("dtype").error.min()
assert lowest["float64"] < lowest["float32"] < lowest["bfloat16"]
assert lowest["bfloat16"] > 0.1

Markdown(
    "The best that any step achieves here with the forward scheme is a relative error of "
    f"{lowest['float64']:.0e} in float64, {lowest['float32']:.0e} in float32 and "
    f"{lowest['bfloat16']:.1f} in bfloat16. In bfloat16 there is no good step. This is why `ColdFD` "
    "computes in float32 or better whatever the weights are, goes on to float64 where float32 does not "
    "resolve the difference, and why `ColdJVP`, which has no step, is the yardstick."
)

# %% [markdown]
# ## What it means, and what it does not
#
# The equalities say that the directions answer the same kind of question with different losses.
# They do not say that the directions are alike: under *its own* loss each is COLD-Kernel, and the
# losses are far apart.

# %%
contrast = cl.ColdKernel(cl.ContrastiveSquaredError(), positions="answer")
report = cl.compare_directions(model, examples, [cl.DiffMean(), contrast, cl.ColdKernel(cl.DPO())])
angles = report.table.pivot_table(
    index="method", columns="layer", values="cosine_to_DiffMean", sort=False
)
angles.index = ["DiffMean", "ColdKernel, contrastive loss", "ColdKernel, DPO"]
angles.map("{:+.2f}".format)

# %% tags=["hide-input"]
assert angles.iloc[1].min() > 0.999 and angles.iloc[2].abs().max() < 0.5

# %% [markdown]
# Which of them is worth adding to a model is not settled by an identity. That is what the next
# notebook measures.
#
# `coldlens verify --model path/or/id --examples examples.jsonl` runs the checks on another model,
# and its exit status is 1 if one of them is not as it should be.
