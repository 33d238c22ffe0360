# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 4. Steering, and what it breaks
#
# Any large enough vector changes a model's answers. Whether a direction *steers* is a comparison:
# it should move the behaviour more than a random direction of the same length does, leave other
# behaviours alone, and leave the model able to answer unrelated questions. This notebook fits a
# direction, applies it, measures gains beside losses, and chooses layer and step size without
# looking at the questions that it reports on.

# %%
import pandas as pd
from IPython.display import Markdown
from transformers.utils import logging

import coldlens as cl
from coldlens.evaluation import specificity
from coldlens.sweep import demo_facts, load_splits, sweep

logging.disable_progress_bar()
pd.options.display.float_format = "{:.3f}".format

model = cl.load_model("demo")
examples = cl.load_examples("demo/sycophancy", n=50)

# %% [markdown]
# ## Fit and apply
#
# A fitted steering knows a displacement for each token of any prompt. `apply` adds $\eta$ times it
# to the residual stream at the positions that you name; on leaving the block, the model is as it
# was.

# %%
steering = cl.ColdFD().fit(model, examples)
prompt = examples[0].prompt
print(steering.explain(prompt, positions="prompt"))

# %%
print(prompt)
for eta in (0.0, 2.0, 5.0):
    with steering.apply(model, layer=2, eta=eta, positions="prompt"):
        text = model.generate(prompt, max_new_tokens=1, do_sample=False, verbose=False)
    print(f"eta {eta:.0f}: {text.removeprefix(prompt)}")

# %% [markdown]
# `eta=0` is allowed and does nothing. A negative one steers away from the behaviour.
#
# ## Measure
#
# One prompt proves nothing. `evaluate` asks held-out questions with and without steering, keeps
# one row a question, and bootstraps intervals over the wordings that questions share.

# %%
held_out = cl.load_examples("demo/sycophancy", split="test", n=80)
evaluation = cl.evaluate(model, held_out, steering, layer=2, eta=5.0)
evaluation.summary

# %% [markdown]
# - `correct`: how often the letter that matches the behaviour is the likelier one;
# - `probability`: $p^+/(p^+ + p^-)$, the same without the threshold;
# - `kl`: how far the distribution of the next token moved, here on the very questions that should
#   move.
#
# ## The control, and other people's questions
#
# Is a random vector of the same length as good? And what do three steerings do to each other's
# questions, and to facts and sums that no trait should touch?

# %%
behaviours = ("sycophancy", "refusal", "hallucination")
steerings = {
    name: cl.ColdFD().fit(model, cl.load_examples(f"demo/{name}", n=50)) for name in behaviours
}
random = cl.Random().fit(model, examples, layers=2).normalized()
lengths = steerings["sycophancy"].readings()[2].norm(dim=-1)  # at the prompts' last tokens
steerings["random"] = random * lengths.mean().item()

questions = {name: cl.load_examples(f"demo/{name}", split="test", n=40) for name in behaviours}
questions["facts"] = demo_facts(40)

found = specificity(model, steerings, questions, layer=2, eta=5.0)
found.matrix()

# %% [markdown]
# Rows are what the model was steered towards, columns what it was asked; each entry is the change
# of the probability of the matching answer. A specific method has large numbers on the diagonal
# and small ones elsewhere.

# %% tags=["hide-input"]
matrix = found.matrix()
own = pd.Series({name: matrix.loc[name, name] for name in behaviours})
across = pd.concat([matrix.loc[name, list(behaviours)].drop(name) for name in behaviours]).abs()
facts = matrix.loc[list(behaviours), "facts"].abs().max()
by_chance = matrix.loc["random", list(behaviours)].abs().max()

assert own.min() > by_chance
assert facts < 0.1
assert matrix.loc["sycophancy", "refusal"] < -0.1 and matrix.loc["refusal", "sycophancy"] < -0.1

Markdown(
    f"Each steering moves its own behaviour by {own.min():+.2f} to {own.max():+.2f}. The random vector "
    f"moves none by more than {by_chance:.2f}. Facts hardly suffer (at most {facts:.2f}). But the "
    "steerings are *not* perfectly specific: another behaviour moves by up to "
    f"{across.max():.2f}. Sycophancy and refusal push each other down here."
)

# %% [markdown]
# ## Choose layer and step size on validation questions
#
# Layer 2 and $\eta = 5$ came from nowhere. The honest way is a grid, a validation split to choose
# by, a test split to report on, and a budget: a cell of the grid only counts if at most 0.05 of
# the accuracy on unrelated questions is lost on validation. `sweep` does that for several methods
# at once; all layers and step sizes share one fit.
#
# Displacements differ in length by orders of magnitude between methods. So the grid is relative:
# 0.3 means a displacement that is 0.3 times as long as the residual stream on average.

# %%
splits = {"sycophancy": load_splits("demo/sycophancy", validation=40, test=80)}
result = sweep(
    model,
    splits,
    methods=["ColdFD", "ColdKernel", "DiffMean", "Random"],
    etas=(0.1, 0.3, 1.0, 3.0),
    seeds=(0, 1),
    capability=demo_facts(80),
)
result.grid("ColdFD")  # mean probability on validation: layers by relative step size

# %%
chosen = result.choices()
shown = ["method", "seed", "layer", "relative", "validation", "test", "low", "high", "capability"]
chosen.query("guarded")[shown].set_index(["method", "seed"])

# %%
result.main_table()

# %% [markdown]
# These questions are made from four wordings of each answer, and so the intervals are wide: most
# of what differs between questions is which wordings meet, with any method. What a method adds is
# better seen question by question.

# %%
gains = result.differences(to=("none", "base"))
gains

# %% tags=["hide-input"]
table, gains = result.main_table().droplevel("setting"), gains.droplevel("setting")
best, base = table.loc["ColdFD"], table.loc["base"]
assert table.index[0] == "ColdFD"
assert gains.loc["ColdFD", "low"] > 0 and gains.loc["ColdKernel", "low"] > 0
assert gains.loc["DiffMean", "low"] < 0 < gains.loc["DiffMean", "high"]

Markdown(
    f"Chosen on validation and reported on test, `ColdFD` takes the probability of the matching answer "
    f"from {base['mean']:.2f} to {best['mean']:.2f}, a gain of {gains.loc['ColdFD', 'mean']:.2f} (95 % "
    f"interval {gains.loc['ColdFD', 'low']:.2f} to {gains.loc['ColdFD', 'high']:.2f}); "
    f"`ColdKernel` gains {gains.loc['ColdKernel', 'mean']:.2f}, `DiffMean` "
    f"{gains.loc['DiffMean', 'mean']:.2f} and the random control {gains.loc['Random', 'mean']:.2f}. The "
    "interval of `DiffMean` contains zero: on these one-letter answers it does not steer, as its "
    "cosine in notebook 1 made likely."
)

# %% [markdown]
# This is one behaviour of one small model, with two draws of the examples. The ranking is a fact
# about this case, and `coldlens sweep` exists to ask the question again on yours.
#
# ## Without the budget
#
# What would have been chosen if only the behaviour counted?

# %%
both = chosen.query("method != 'base'").pivot_table(
    index="method", columns="guarded", values=["test", "capability_change"], sort=False
)
both

# %% tags=["hide-input"]
loose = chosen.query("not guarded and method != 'base'")
strict = chosen.query("guarded and method != 'base'")
assert loose.validation.to_numpy().mean() >= strict.validation.to_numpy().mean()
assert loose.capability_change.min() < strict.capability_change.min()

Markdown(
    "Without it the mean score on validation is higher by "
    f"{loose.validation.mean() - strict.validation.mean():.2f}, and one choice takes the accuracy on "
    f"unrelated test questions down by {-loose.capability_change.min():.2f}. The budget is kept on "
    "validation questions, and on others only about: the worst guarded choice still loses "
    f"{-strict.capability_change.min():.2f} on test."
)

# %% [markdown]
# ## Where to go next
#
# - `result.plot()` and `result.sample_efficiency()` for several sizes; `folder=` makes a sweep
#   resumable.
# - `cl.Generation(judge)` scores open answers; `metrics=["preference"]` serves models that cannot
#   do multiple choice.
# - `steering.save("file.safetensors")` keeps the steering with the model's fingerprint, the layers
#   and the tokens of its examples.
