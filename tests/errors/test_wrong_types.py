"""Wrong types as a user meets them: in a process without the type checker of the tests."""

import subprocess
import sys

import pytest

CASES = {
    'cl.CrossEntropy(reduction="max")': "reduction among 'mean', 'sum'; found",
    'cl.NegativeCrossEntropy(reduction="max")': "reduction among 'mean', 'sum'; found",
    'cl.DPO(reference="slef")': "reference among 'none', 'self'; found reference = 'slef'",
    'cl.DPO(normalize="max")': "normalize among 'mean', 'sum'; found",
    'cl.ColdKernel(loss="dpo").fit(model, EXAMPLES)': "found 'dpo'",
    "cl.ColdKernel(loss=lambda logits, batch: 0.5).fit(model, EXAMPLES)": "found float without",
    'cl.compare_directions("demo", EXAMPLES)': "a TransformerBridge; found builtins.str",
    'cl.compare_directions(model, "demo/x")': "Load them first with coldlens.load_examples",
    "cl.load_model(model.original_model)": "Save a Hugging Face model with save_pretrained",
    "cl.load_model(None)": "found builtins.NoneType",
    "cl.ColdKernel(loss=cl.DPO).fit(model, EXAMPLES)": "Pass an instance, not a class",
    'cl.ColdFD(epsilon="small")': "epsilon > 0, a finite number; found epsilon = 'small'",
    "cl.FineTune(steps=True)": "steps >= 1, an integer; found steps = True",
    "cl.FineTune(steps=2.5)": "steps >= 1, an integer; found steps = 2.5",
    'cl.BiPO(epochs="2")': "epochs >= 1, an integer; found epochs = '2'",
    'cl.BiPO(held_out="all")': "a finite held_out; found held_out = 'all'",
    'cl.DiffMean().fit(model, [("a", "b", "c")])': "every element to be a coldlens.Example",
    "cl.DiffMean().fit(model, EXAMPLES[0])": "found a single Example. Pass a list",
    "cl.DiffMean().fit(model, 5)": "Expected examples; found 5",
    "cl.ColdKernel().fit(model, EXAMPLES, 1.5)": "layers between 0 and 2",
    "cl.ColdKernel().fit(model, EXAMPLES, True)": "found layer True",
    'cl.ColdKernel().fit(model, EXAMPLES, "01")': "found layer '0'",
    "cl.ColdKernel().fit(model, EXAMPLES, batch_size=2.5)": "batch_size >= 1, an integer; found",
    "cl.compare_directions(model, EXAMPLES, layers=[1.5])": "found layer 1.5",
    "cl.compare_directions(model, EXAMPLES, prompts=5)": "a list of at least one prompt; found 5",
    "cl.compare_directions(model, EXAMPLES, prompts=[5])": "a string or a sequence of token ids",
    'cl.ColdFD(gradient="low_rank", rank=1.5)': "rank >= 1, an integer",
    'cl.ColdFD(gradient="low_rank", tolerance=1.0)': "tolerance between 0 and 1",
    "cl.ColdJVP(steps=1.5)": "steps >= 1, an integer",
    "cl.Random(seed=1.5)": "seed >= 0, an integer",
    "cl.ReFTVector(seed=1.5)": "seed >= 0, an integer",
    'cl.compare_directions(model, EXAMPLES, seed="x")': "seed >= 0, an integer",
    'cl.Example("q", options="AB", distribution=[0.5, 0.5])': "`options` as a list",
    'cl.Example("q", options=["A", "A"], distribution=[0.5, 0.5])': "`options` that differ",
    'cl.compare_directions(model, EXAMPLES, "ColdJVP")': "methods, a list of names and instances",
    "cl.compare_directions(model, EXAMPLES, [[]])": "methods among DiffMean",
    'cl.compare_directions(model, EXAMPLES, batch_size="8")': "found batch_size = '8'",
    'cl.EmpiricalNTK(model, ["a"], EXAMPLES, params=5)': "params among attention",
    'cl.EmpiricalNTK(model, ["a"], EXAMPLES, params=[5])': "found params = 5",
    'cl.EmpiricalNTK(model, ["a"], EXAMPLES, seed="a")': "seed >= 0, an integer; found seed = 'a'",
    'cl.EmpiricalNTK(model, ["a"], EXAMPLES, max_memory="a")': "max_memory > 0",
    'cl.EmpiricalNTK(model, ["a"], EXAMPLES).blocks(1.5)': "found layer 1.5",
    'cl.EmpiricalNTK(model, ["a"], EXAMPLES).self_block(1, "0")': "found query '0'",
    "cl.EmpiricalNTK(model, 5, EXAMPLES)": "a list of at least one prompt; found 5",
    "cl.kernel_agreement(model, EXAMPLES, queries=5)": "a list of at least one prompt; found 5",
    'cl.kernel_agreement(model, EXAMPLES, probes="a")': "an integer probes >= 3; found",
    "cl.kernel_agreement(model, EXAMPLES, method=5)": "method among 'structured'",
    "cl.kernel_agreement(model, EXAMPLES, batch_size=2.5)": "found batch_size = 2.5",
    "cl.verify_equivalences(model, EXAMPLES[0])": "found a single Example",
    "cl.verify_equivalences(model, EXAMPLES * 2, 1.5)": "found layer 1.5",
    "cl.verify_equivalences(model, EXAMPLES, n=2.5)": "n >= 1, an integer; found n = 2.5",
    'cl.verify_equivalences(model, EXAMPLES, seed="a")': "seed >= 0, an integer",
    "STEERING.apply(model, layer=1.5)": "a fitted layer, one of [0, 1, 2]; found layer 1.5",
    'STEERING.apply(model, layer="1")': "found layer '1'",
    'STEERING.apply(model, layer=1, eta="5")': "a finite eta; found eta = '5'",
    "STEERING.apply(model, layer=1, positions=5)": "a window (start, stop) of two integers",
    "STEERING.vector(1.5)": "found layer 1.5",
    "STEERING.displacement(5)": "a list of at least one prompt; found 5",
    "STEERING.displacement([5])": "a string or a sequence of token ids",
    "cl.evaluate(model, EXAMPLES[0])": "found a single Example",
    'cl.evaluate(model, EXAMPLES, generation="x")': "a Generation, or None; found generation = 'x'",
    'cl.evaluation.specificity(model, STEERING, {"a": SET}, 1)': "steerings by name; found",
    'cl.evaluation.specificity(model, {"a": STEERING}, SET, 1)': "questions by name; found",
    'cl.evaluation.specificity(model, {"a": STEERING, "b": cl.ColdFD()}, {"a": SET}, 1)': (
        "a fitted steering; found ColdFD("
    ),
    "cl.evaluate(model, EXAMPLES, STEERING, 1.5)": "found layer 1.5",
    'cl.evaluate(model, EXAMPLES, STEERING, "1")': "found layer '1'",
    'cl.evaluate(model, EXAMPLES, STEERING, 1, "5")': "a finite eta; found eta = '5'",
    "cl.evaluate(model, EXAMPLES, cl.DiffMean(), 1)": "a fitted steering; found DiffMean()",
    "cl.evaluate(model, EXAMPLES, positions=5)": "a window (start, stop) of two integers",
    "cl.evaluate(model, EXAMPLES, metrics=5)": "metrics, a list of names and instances; found",
    'cl.evaluate(model, EXAMPLES, metrics="kl")': "found metrics = 'kl'",
    "cl.evaluate(model, EXAMPLES, metrics=[[]])": "metrics among choice",
    "cl.evaluate(model, EXAMPLES, batch_size=2.5)": "batch_size >= 1, an integer; found",
    "cl.Generation(max_new_tokens=2.5)": "max_new_tokens >= 1, an integer; found",
    "sweep(5, SPLITS)": "found builtins.int",
    "sweep(model, 5)": "splits, a list of names of data sets; found splits = 5",
    'sweep(model, "demo/refusal")': "found splits = 'demo/refusal'",
    "sweep(model, [5])": "Expected examples; found 5",
    'sweep(model, {"a": EXAMPLES})': "the Splits of 'a'; found list",
    'sweep(model, SPLITS, "DiffMean")': "methods, a list of names and instances; found",
    "sweep(model, SPLITS, [5])": "methods among DiffMean",
    "sweep(model, SPLITS, layers=1.5)": "found layer 1.5",
    'sweep(model, SPLITS, etas="5")': "etas, a list of numbers; found etas = '5'",
    'sweep(model, SPLITS, etas=["5"])': "etas > 0, a finite number; found etas = '5'",
    "sweep(model, SPLITS, etas=5)": "etas, a list of numbers; found etas = 5",
    "sweep(model, SPLITS, sizes=[0.5])": "sizes >= 1, an integer; found sizes = 0.5",
    'sweep(model, SPLITS, seeds=["a"])': "seeds >= 0, an integer; found seeds = 'a'",
    "sweep(model, SPLITS, metrics=5)": "metrics, a list of names and instances; found",
    'sweep(model, SPLITS, capability="demo/facts")': "Load them first with coldlens.load_examples",
    'sweep(model, SPLITS, losses="dpo")': "found 'dpo'. Pass losses=",
    'sweep("demo", SPLITS, jobs="2")': "jobs >= 1, an integer; found jobs = '2'",
    'sweep("demo", SPLITS, batch_size="2")': "found batch_size = '2'",
    "cl.load_examples(5)": "Expected examples; found 5",
    "cl.load_examples(EXAMPLES[0])": "found a single Example",
    "cl.load_examples(EXAMPLES, n=0.5)": "n between 1 and 1",
    "cl.load_examples(EXAMPLES, 5)": "split to be one of 'train'",
    'cl.load_examples(EXAMPLES, n=1, seed="a")': "seed >= 0, an integer",
    'cl.load_model("demo", dtype="float32")': "a torch.dtype; found dtype = 'float32'",
    'cl.load_model("demo", device="gpu")': "torch can use here, or None; found device = 'gpu'",
    'cl.load_model("demo", device="cuda:99")': "found device = 'cuda:99'",
    'cl.load_model("demo", device=[])': "found device = []",
    'cl.Example(None, " a", " b")': "`prompt` to be a string or a sequence of token ids; found",
    'cl.Example("a", b"b")': "`positive` to be a string or a sequence of token ids; found b'b'",
    'cl.Example([True, False], "b")': "a sequence of token ids; found [True, False]",
    'cl.Example("a", "b", clusters=5)': "`clusters` as a list of labels; found 5",
    'cl.Example("q", options=["A", "B"], distribution=["x", "y"])': "numbers; found ['x', 'y']",
    'cl.Example("q", options=["A", "B"], distribution=".5")': "a list of numbers; found '.5'",
    'cl.Example("q", options=["A", "B"], distribution=[None, 1])': "found [None, 1]. Give the prob",
    'cl.Example("q", options=["A", "B"], distribution=[True, 0])': "found [True, 0]",
    'cl.Example("q", options=["A", "B"], distribution=3)': "`distribution` as a list of numbers",
    'cl.TokenPolicy(bos="nevr")': "bos among 'auto', 'always', 'never'; found bos = 'nevr'",
    'cl.TokenPolicy(chat_template="{{ }}")': "chat_template, True or False; found",
    "cl.TokenPolicy(chat_template=True, answer_prefix=None)": "answer_prefix, a string; found",
    'cl.load_examples(EXAMPLES, policy="never")': "a coldlens.TokenPolicy; found policy = 'never'",
    'cl.load_examples("demo/refusal", policy="never")': "found policy = 'never'. Build it",
    'cl.show_positions("demo", EXAMPLES, "prompt")': "a TransformerBridge; found builtins.str",
    'cl.show_positions(model, EXAMPLES, "prompt", n="a")': "n >= 1, an integer; found n = 'a'",
    'cl.in_context("demo", SET, SET)': "a TransformerBridge; found builtins.str",
    'cl.in_context(model, SET, SET, "1")': "k between 1 and 1, the number of demonstrations",
    'cl.kernel_agreement("demo", EXAMPLES)': "a TransformerBridge; found builtins.str",
    'cl.EmpiricalNTK("demo", ["a"], EXAMPLES)': "a TransformerBridge; found builtins.str",
    'cl.verify_equivalences("demo", EXAMPLES * 2)': "a TransformerBridge; found builtins.str",
    'cl.evaluate("demo", EXAMPLES)': "a TransformerBridge; found builtins.str",
    'cl.DiffMean().fit("demo", EXAMPLES)': "a TransformerBridge; found builtins.str",
    'cl.Steering.load("x", "demo")': "a TransformerBridge; found builtins.str",
    'STEERING.apply("demo", layer=1)': "a TransformerBridge; found builtins.str",
    "STEERING.apply(model, layer=None)": "found layer None. Pass an int.",
    "STEERING.vector(1.0)": "found layer 1.0. Pass an int.",
    'STEERING.vector("1")': "found layer '1'. Pass an int.",
    "STEERING.vector(3)": "found layer 3. Fit again with layers=None",
    "STEERING.save(None)": "a path, a string or a pathlib.Path; found None",
    "cl.Steering.load(None, model)": "a path, a string or a pathlib.Path; found None",
    "STEERING.displacement(torch.ones(1, 2))": "token ids, a tensor of integers; found a tensor of",
    "STEERING.displacement(IDS > 0)": "found a tensor of dtype torch.bool",
    "STEERING.displacement(IDS, [1, 1])": "an attention mask that is a tensor; found list",
    "STEERING.displacement(IDS, IDS[0])": "found a mask of shape (2,)",
}


@pytest.fixture(scope="module")
def messages():
    lines = ["import sys; sys.path.insert(0, 'tests')", "import torch, zoo, coldlens as cl"]
    lines += ["model = zoo.bridge('llama')", "EXAMPLES = [cl.Example('a', ' the')]"]
    lines += ["SET, IDS = cl.ExampleSet.of(EXAMPLES), torch.tensor([[1, 2]])"]
    lines += ["STEERING = cl.ColdKernel().fit(model, EXAMPLES)"]
    lines += ["from coldlens.sweep import Splits, sweep"]
    lines += ["SPLITS = {'a': Splits(*[cl.ExampleSet.of(EXAMPLES)] * 3)}"]
    for case in CASES:
        lines += ["try:", f"    {case}", "except cl.ColdlensError as error:"]
        lines += ["    sys.stdout.write(str(error) + chr(10))"]
        lines += ["except Exception as error:"]
        lines += ["    sys.stdout.write(repr(error).replace(chr(10), ' ') + chr(10))"]
        lines += ["else:", "    sys.stdout.write('no error' + chr(10))"]
    script = chr(10).join(lines)
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return found.stdout.splitlines()


@pytest.mark.parametrize("place", range(len(CASES)), ids=list(CASES))
def test_wrong_types_are_explained(messages, place):
    assert len(messages) == len(CASES)
    assert list(CASES.values())[place] in messages[place]
