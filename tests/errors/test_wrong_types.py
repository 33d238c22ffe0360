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
    "cl.FineTune(steps=True)": "steps > 0, a finite number; found steps = True",
    'cl.DiffMean().fit(model, [("a", "b", "c")])': "every element to be a coldlens.Example",
}


@pytest.fixture(scope="module")
def messages():
    lines = ["import sys; sys.path.insert(0, 'tests')", "import zoo, coldlens as cl"]
    lines += ["model = zoo.bridge('llama')", "EXAMPLES = [cl.Example('a', ' the')]"]
    for case in CASES:
        lines += ["try:", f"    {case}", "except cl.ColdlensError as error:"]
        lines += ["    sys.stdout.write(str(error) + chr(10))"]
    script = chr(10).join(lines)
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return found.stdout.splitlines()


@pytest.mark.parametrize("place", range(len(CASES)), ids=list(CASES))
def test_wrong_types_are_explained(messages, place):
    assert len(messages) == len(CASES)
    assert list(CASES.values())[place] in messages[place]
