# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 5. Your own model, your own examples
#
# Everything so far ran on the bundled model. This notebook walks through the same calls with a
# model from a folder and examples from a file, and stops at what usually goes wrong: tokens,
# positions, chat templates, memory, precision.
#
# Nothing is downloaded here, so the model is a tiny GPT-2 with *random* weights, saved the way any
# Hugging Face model is. Its numbers mean nothing. What carries over is the procedure, and the one
# identity that holds for every model.

# %%
import json
import tempfile
from pathlib import Path

import torch
import transformers
from IPython.display import Markdown

import coldlens as cl

transformers.utils.logging.disable_progress_bar()

folder = Path(tempfile.mkdtemp()) / "tiny-gpt2"
tokenizer = transformers.AutoTokenizer.from_pretrained(cl.load_model("demo").tokenizer.name_or_path)
tokenizer.chat_template = "question : {{ messages[0]['content'] }} answer :"
torch.manual_seed(0)
config = transformers.GPT2Config(
    vocab_size=len(tokenizer), n_embd=64, n_layer=3, n_head=4, n_positions=128,
    bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
)  # fmt: skip
for place in (folder, folder.with_name("other-gpt2")):
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    tokenizer.save_pretrained(place)

# %% [markdown]
# ## The model
#
# `load_model` takes a folder, a hub id, or a `TransformerBridge` that you booted yourself. It
# keeps the raw Hugging Face numerics: TransformerLens' compatibility mode folds and centres
# weights, which is another parameterisation, and gradients with respect to parameters would be
# other ones.

# %%
model = cl.load_model(folder)
print(f"{len(model.blocks)} blocks, d_model {model.cfg.d_model}, context {model.cfg.n_ctx}")

# %% [markdown]
# Layers count from 0: layer $l$ is the output of block $l$, `blocks.{l}.hook_resid_post`. In the
# paper the same place is layer $l+1$.
#
# ## The examples
#
# One JSON object a line. Without `negative` the data are positive-only, and the loss is the
# cross-entropy; with it, DPO. A field `split` (`train`, `validation`, `test`) is optional.

# %%
pairs = [
    ("the users wipe you monday ?", "plead", "fade"),
    ("the owners argue a rumor soon ?", "flatter", "criticise"),
    ("the managers voice a hunch today ?", "echo", "rebut"),
    ("the owners demand a weapon soon ?", "refuse", "serve"),
]
lines = [
    {
        "prompt": f"question : {question} answer : to",
        "positive": f" {yes} .",
        "negative": f" {no} .",
    }
    for question, yes, no in pairs
]
path = folder / "examples.jsonl"
path.write_text("\n".join(map(json.dumps, lines)))

examples = cl.load_examples(path)
examples[0]

# %% [markdown]
# ## Look at the tokens first
#
# Most silent mistakes are mistakes of position. `show_positions` prints which tokens a selection
# reads, in «».

# %%
print(cl.show_positions(model, examples, "last_prompt", n=1))
print(cl.show_positions(model, examples, "answer", n=1))

# %% [markdown]
# - **The space belongs to the completion**: `" plead"`, after a prompt without a space at its end.
#   With subword tokenizers the other way round cuts a word in two; then prompt and completion are
#   tokenised apart and a `BoundaryWarning` names the examples.
# - **BOS** is put in front where TransformerLens does so by default for the architecture, and
#   never twice. `TokenPolicy(bos="always" | "never")` overrides it.
# - **Multiple choice** ends the prompt after the opening parenthesis, and the completion is the
#   letter alone.
# - Nothing is ever truncated: what is longer than the context is an error.
#
# ### Chat models
#
# With `chat_template=True` the prompt becomes a user turn, the template decides about BOS, and
# `answer_prefix` is put between the template and the completion. The template of this tokenizer
# has no BOS, so there is none.

# %%
policy = cl.TokenPolicy(chat_template=True, answer_prefix=" to")
turns = [cl.Example(question, f" {yes} .", f" {no} .") for question, yes, no in pairs]
chat = cl.load_examples(turns, policy=policy)
print(cl.show_positions(model, chat, "last_prompt", n=1))

# %% [markdown]
# ## Compare
#
# Methods can be named, here to keep the table short; by default all are compared. `loss=` sets the
# loss of all methods that name none; `layers=` restricts what is stored and, since only parameters
# below the deepest layer are differentiated, what it costs.

# %%
report = cl.compare_directions(
    model, examples, ["DiffMean", "Probe", "ColdKernel", "ColdFD", "ColdJVP", "FineTune", "Random"]
)
report.summary().round(3)

# %% tags=["hide-input"]
fd = report.summary().loc["ColdFD"].min()
assert fd > 0.999

Markdown(
    "The weights are random, so nothing can be said about the behaviour. But `ColdFD` is the exact "
    f"displacement (cosine {fd:.4f} at its worst layer) on this model as on every other; where it is not, "
    "something is wrong, and `coldlens verify` finds out what."
)

# %% [markdown]
# ## What will it cost?
#
# Parameter-space methods (`ColdFD`, `ColdJVP`, `FineTune`) keep one gradient of the parameters up
# to the deepest layer. Each call estimates its cost before it starts; the report keeps the
# sentence.

# %%
print(report.about["cost"])

# %% [markdown]
# Kernel blocks are dearer: each has $d^2$ entries. Ask first.

# %%
prompts = [example.prompt for example in examples]
for method in ("structured", "sketched"):
    kernel = cl.EmpiricalNTK(model, prompts, examples, method=method, positions="last_prompt")
    print(f"{method:10}  {kernel.estimate()}")

# %% [markdown]
# If it does not fit: fewer layers (`layers=[...]`), smaller batches (`batch_size=`, which changes
# memory and time but not results), fewer queries, a sketch in place of blocks, or `ColdKernel`,
# which needs activation gradients only. Where other programs use the same cores,
# `OMP_NUM_THREADS=1` may be many times faster.
#
# ## Precision
#
# Weights may be in half precision. A finite difference in bfloat16 would be rounding noise, so
# what has to be precise is computed in float32 or better from those weights.

# %%
half = cl.load_model(folder, dtype=torch.bfloat16)
in_half = cl.compare_directions(half, examples, ["ColdFD", "ColdJVP"])
in_half.summary().round(5)

# %% tags=["hide-input"]
assert in_half.summary().loc["ColdFD"].min() > 0.999
assert in_half.directions["ColdJVP"][0].dtype == torch.float32

# %% [markdown]
# ## Errors say what to do
#
# Nothing is guessed. A message has three parts: what was expected, what was found, how to mend it.

# %%
tried = {
    "a layer that is not there": lambda: cl.compare_directions(model, examples, layers=[7]),
    "no negatives": lambda: cl.DiffMean().fit(model, [cl.Example("the users wipe", " you")]),
    "positions that hold no token": lambda: cl.show_positions(model, examples, (40, None)),
    "training mode": lambda: cl.ColdFD().fit(model.train(), examples),
}
for what, call in tried.items():
    try:
        call()
    except cl.ColdlensError as error:
        print(f"{what}\n  {type(error).__name__}: {error}\n")
_ = model.eval()
# %% [markdown]
# ## Keep and reload
#
# A saved steering knows the model it belongs to, the layers, the tokens of its examples and its
# scale. It refuses another model instead of steering it wrongly.

# %%
steering = cl.ColdFD().fit(model, examples)
steering.save(folder / "mine.safetensors")
same = cl.Steering.load(folder / "mine.safetensors", model)
print(same)
try:
    cl.Steering.load(folder / "mine.safetensors", cl.load_model(folder.with_name("other-gpt2")))
except cl.SteeringError as error:
    print(f"\nwith another model:\n  {str(error).replace(str(folder.parent), '...')}")

# %% [markdown]
# ## The same from the command line
#
# ```
# coldlens compare --model FOLDER --examples examples.jsonl --out out/mine
# coldlens kernel  --model FOLDER --examples examples.jsonl --out out/kernel
# coldlens verify  --model FOLDER --examples examples.jsonl
# coldlens steer   --model FOLDER --examples examples.jsonl --help
# ```
