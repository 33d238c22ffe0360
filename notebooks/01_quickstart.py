# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 1. What would one step of fine-tuning do, and which direction predicts it?
#
# You have a language model and a few dozen examples of a behaviour. If you fine-tuned on them, the
# model would change, and with it the *representation* that every block writes into the residual
# stream. Suppose you took just one small step of gradient descent. How would the representation of
# a prompt move?
#
# That move is a direction in activation space, one for each layer and prompt. Adding it to the
# residual stream steers the model towards the behaviour without training it: this is the idea of
# COLD-Steer (Sharma and Trivedi, ICLR 2026). There are cheaper directions that people add in its
# place: the mean difference of activations, a principal component, the normal of a probe, the mean
# activation gradient. This notebook puts all of them beside the exact move.

# %% [markdown]
# ## The question, as a formula
#
# Let $Z_l(x;\theta)$ be the residual stream after block $l$ at the last token of a prompt $x$, and
# $g = \nabla_\theta \frac{1}{N}\sum_i \ell_i(\theta)$ the gradient of the loss over $N$ examples.
# One step of size $\eta$ gives
#
# $$ Z_l(x;\theta - \eta g) - Z_l(x;\theta) = \eta\,\Delta_l(x) + O(\eta^2), \qquad
#    \Delta_l(x) = -J_l(x)\,g, \qquad J_l = \partial Z_l/\partial\theta . $$
#
# $\Delta_l(x)$ is what `ColdJVP` computes, by forward-mode differentiation and without any step
# size. It is the yardstick. `ColdFD` replaces the derivative by a finite difference, `ColdKernel`
# replaces $J_l$ by nothing at all and keeps the gradient with respect to the activations, and the
# contrastive methods do not look at a gradient.

# %% [markdown]
# ## Run it
#
# `"demo"` is a small Llama that comes with the package: four blocks of width 96, trained on a
# synthetic world in which speakers have traits. A string such as `"gpt2"`, a local folder or a
# `TransformerBridge` works in its place.

# %%
import pandas as pd
from IPython.display import Markdown
from transformers.utils import logging

import coldlens as cl

logging.disable_progress_bar()
pd.options.display.float_format = "{:.4g}".format

model = cl.load_model("demo")
examples = cl.load_examples("demo/sycophancy", n=50)
examples[0]

# %% [markdown]
# Each example has a prompt, a completion that shows the behaviour and one that does not. With such
# pairs the loss is DPO; with positive completions alone it is the cross-entropy. The prompt ends
# after the opening parenthesis, so that the answer is one letter.
#
# All methods share one pass over the examples.

# %%
report = cl.compare_directions(model, examples)
report.summary()

# %% [markdown]
# Each number is the cosine between a method's direction and the exact displacement, layer by
# layer; 1 is the same direction, 0 is unrelated. In 96 dimensions a random direction has a cosine
# of about $1/\sqrt{96} \approx 0.1$ in size, and the row `Random` is there to remind of it.
#
# The warning is worth reading as well: a completion of one letter predicts nothing after itself,
# so there is no gradient at the *answer*, and the variant of COLD-Kernel that reads it there is
# empty.

# %%
report.plot(layer=2)

# %% [markdown]
# ## What to see in it

# %% tags=["hide-input"]
cosines = report.summary()
exact = cosines.loc[["ColdFD", "FineTune"]]
kernel = cosines.loc["ColdKernel"]
contrast = cosines.loc[["DiffMean", "RepE", "ICV", "Probe"]]
random = cosines.loc["Random"].abs().max()

assert exact.min().min() > 0.99
assert kernel.max() < 0.9
assert contrast.abs().max().max() < random + 0.1

Markdown(
    f"- **The finite difference and a real step are the exact displacement.** `ColdFD` and "
    f"`FineTune` have a cosine of at least {exact.min().min():.3f} at every layer. Nothing was "
    "trained to get the first.\n"
    f"- **The identity kernel is a rough guess.** `ColdKernel` shares {kernel.max():.2f} of the "
    f"direction at its best layer and {kernel.min():.2f} at its worst. The next notebook asks why.\n"
    f"- **The contrastive directions say little about the step.** Their cosines reach "
    f"{contrast.abs().max().max():.2f} in size; the random control reaches {random:.2f}."
)

# %% [markdown]
# The last point is about *these examples*. At a one-letter answer the activations of the two
# completions differ by the letter before anything else, and the letter that matches is A in some
# examples and B in others. The column `coherence` says how much the vectors that were averaged
# agree (mean pairwise cosine): near zero, the mean is what is left after they cancel.

# %%
columns = ["norm", "relative_norm", "cosine_to_ColdJVP", "coherence"]
report.table.query("layer == 2").set_index("method")[columns]

# %% tags=["hide-input"]
middle = report.table.query("layer == 2").set_index("method")
longest, shortest = middle.norm.max(), middle.norm[middle.norm > 0].min()
assert abs(middle.coherence["DiffMean"]) < 0.1 and middle.coherence["ColdJVP"] > 0.3
assert longest / shortest > 1e5

Markdown(
    f"The differences behind `DiffMean` have a coherence of {middle.coherence['DiffMean']:+.2f}; "
    f"the displacements behind `ColdJVP`, over prompts, {middle.coherence['ColdJVP']:+.2f}. Lengths "
    f"differ as well, here by a factor of {longest / shortest:,.0f}: a step size that suits one "
    "method says nothing about another."
)

# %% [markdown]
# ## What the direction says
#
# Read through the unembedding, a direction promotes some tokens and suppresses others.

# %%
report.top_tokens(3, "ColdJVP", k=6)

# %% [markdown]
# ## Does it steer?
#
# Cosines say how well a direction predicts a step; whether the step is worth anything is another
# question. Fit a steering, and add it while the model answers.

# %%
steering = cl.ColdFD().fit(model, examples)
prompt = examples[0].prompt
greedy = {"max_new_tokens": 1, "do_sample": False, "verbose": False}
plain = model.generate(prompt, **greedy)
with steering.apply(model, layer=2, eta=5.0, positions="prompt"):
    steered = model.generate(prompt, **greedy)
print(prompt)
print("unsteered:", plain.removeprefix(prompt))
print("steered:  ", steered.removeprefix(prompt))

# %%
questions = cl.load_examples("demo/sycophancy", split="test", n=80)
summary = cl.evaluate(model, questions, steering, layer=2, eta=5.0).summary
summary.loc[["correct", "probability", "kl"]]

# %% tags=["hide-input"]
correct, kl = summary.loc["correct"], summary.loc["kl"]
assert correct.change_low > 0

Markdown(
    f"On {len(questions)} questions that were not among the examples, the answer that matches the "
    f"behaviour is now chosen in {correct['mean']:.0%} of cases instead of {correct.unsteered:.0%} "
    f"(the change is {correct.change:+.2f}, 95 % interval {correct.change_low:+.2f} to "
    f"{correct.change_high:+.2f}). The price on these questions is a divergence of {kl['mean']:.2f} "
    "nats from the unsteered model. Notebook 4 chooses layer and step size properly, and looks at "
    "what happens to other questions."
)

# %% [markdown]
# ## Keep it
#
# `report.save("folder")` writes tables, vectors, the token ids that entered the model and where
# everything came from; `cl.DirectionReport.load("folder")` reads it back. On the command line the
# same comparison is
#
# ```
# coldlens compare --model demo --examples demo/sycophancy --out out/sycophancy
# ```
