"""CAA and BiPO: splits, what is dropped, and what the source says."""

import hashlib
import json

import pytest

from coldlens.datasets import load_examples
from coldlens.errors import ArgumentError, DataError
from coldlens.examples.example import Example, TokenPolicy

SPLITS = ("train", "validation", "test")


def load_splits(name, folder):
    return [load_examples(name, split, folder=folder.path) for split in SPLITS]


def test_caa_example_ends_after_the_parenthesis(small):
    assert load_examples("caa/refusal", "test", folder=small.path)[0] == Example(
        "Question: Test 0?\n\nChoices:\n (A) yes\n (B) no\n\nAnswer: (", "A", "B"
    )


def test_bipo_example_has_a_space_at_the_boundary(small):
    assert load_examples("bipo/hallucination", "test", folder=small.path)[1] == Example(
        "Question: Test 1?\n\nAnswer:", " Yes.", " No."
    )


@pytest.mark.parametrize("name", ["caa/refusal", "bipo/hallucination"])
def test_train_and_validation_share_the_fit_rows(small, name):
    train, validation, test = load_splits(name, small)
    assert (len(train), len(validation), len(test)) == (8, 2, 2)
    assert "Test" not in "".join(example.prompt for example in (*train, *validation))
    assert len({example.prompt for example in (*train, *validation)}) == 10


def test_splits_depend_neither_on_seed_nor_n_nor_format(small):
    whole = load_examples("caa/refusal", "validation", folder=small.path)
    other = load_examples(
        "caa/refusal", "validation", 2, 7, prompt_format="plain", folder=small.path
    )

    def numbers(examples):
        return sorted(example.prompt[example.prompt.index("Fit") :][:6] for example in examples)

    assert numbers(whole) == numbers(other)


def test_rows_of_the_test_set_and_duplicates_are_dropped_and_counted(folder):
    fit = [folder.choice_row(f"Fit {i}?", "yes", "no") for i in range(10)]
    fit += [
        folder.choice_row("Fit 3?", "no", "yes", "B"),  # options swapped
        folder.choice_row("Fit  4?", "yes", " no"),  # white space
        folder.choice_row("Test 0?", "no", "yes", "B"),  # a test row, options swapped
        folder.choice_row("Test\n1?", "maybe", "never"),  # a test question, other options
    ]
    folder.write_caa(fit, [folder.choice_row(f"Test {i}?", "yes", "no") for i in range(2)])
    train, validation, _ = load_splits("caa/refusal", folder)
    assert len(train) + len(validation) == 10
    assert "dropped 2 duplicates and 2 with a question of caa/test/refusal" in train.source
    assert "14 rows" in train.source


def test_rows_with_one_question_stay_in_one_split(folder):
    fit = [[f"Fit {i}?", f"Yes, {j}.", "No."] for i in range(20) for j in range(3)]
    folder.write_bipo(fit, [["Test?", "Yes.", "No."]])
    train, validation, _ = load_splits("bipo/hallucination", folder)
    assert (len(train), len(validation)) == (48, 12)
    assert not {e.prompt for e in train} & {e.prompt for e in validation}


def test_row_without_a_question_is_left_out_and_counted(small):
    small.write_bipo([["  ", "Yes.", "No."], ["Fit?", "Yes.", "No."]], [["Test?", "Yes.", "No."]])
    loaded = load_examples("bipo/hallucination", folder=small.path)
    assert len(loaded) == 1
    assert "2 rows, 1 with a blank question or option)" in loaded.source


def test_source_names_split_files_and_fingerprints(small):
    file = "caa/test/refusal/test_dataset_ab.json"
    digest = hashlib.sha256((small.path / file).read_bytes()).hexdigest()[:12]
    loaded = load_examples("caa/refusal", "test", folder=small.path)
    assert loaded.name == "caa/refusal"
    assert loaded.source == f"caa/refusal, test: {file} (sha256 {digest}, 2 rows)"


def test_folder_of_the_environment_is_used(small, monkeypatch):
    monkeypatch.setenv("COLDLENS_DATA", str(small.path))
    assert len(load_examples("caa/refusal")) == 8


def test_folder_argument_goes_before_the_environment(small, tmp_path, monkeypatch):
    monkeypatch.setenv("COLDLENS_DATA", str(tmp_path / "elsewhere"))
    assert len(load_examples("caa/refusal", folder=small.path)) == 8


@pytest.mark.parametrize("name", ["caa/power", "bipo/refusal"])
def test_unknown_behaviour_lists_the_known_ones(name, small):
    with pytest.raises(DataError, match=r"one of the behaviours of (caa|bipo): '\w+/.*'; found"):
        load_examples(name, folder=small.path)


def test_unknown_behaviour_suggests_the_nearest(small):
    with pytest.raises(DataError, match=r"found 'caa/refusl'\. Perhaps you mean 'caa/refusal'"):
        load_examples("caa/refusl", folder=small.path)


def test_open_questions_of_caa_have_no_answers(small):
    with pytest.raises(
        DataError, match=r"found 'caa/refusal/open', which is .*load_prompts\('caa/refusal/open'\)"
    ):
        load_examples("caa/refusal/open", folder=small.path)


KNOWLEDGE = {
    "prompt": "How many?\n(A ∨ B)\n\nChoices:\n(A) One\n(B) Two",
    "correct": "(B)",
    "incorrect": "(A)",
}


@pytest.mark.parametrize(
    ("name", "file"), [("mmlu", "mmlu/mmlu.json"), ("truthfulqa", "truthfulqa/truthful_qa.json")]
)
def test_questions_of_knowledge(folder, name, file):
    folder.write(f"caa/test/{file}", json.dumps([KNOWLEDGE]))
    loaded = load_examples(f"caa/{name}", "test", folder=folder.path)
    assert loaded.examples == (
        Example(
            "Question: How many?\n(A ∨ B)\n\nChoices:\n(A) One\n(B) Two\n\nAnswer: (", "B", "A"
        ),
    )
    assert loaded.source.startswith(f"caa/{name}, test: caa/test/{file} (sha256 ")


def test_question_with_a_blank_option_is_left_out_and_counted(folder):
    blank = KNOWLEDGE | {"prompt": "How many?\n\nChoices:\n(A) \n(B) Two"}
    last = KNOWLEDGE | {"prompt": "How many?\n\nChoices:\n(A) One\n(B) "}
    folder.write("caa/test/mmlu/mmlu.json", json.dumps([blank, KNOWLEDGE, last]))
    loaded = load_examples("caa/mmlu", "test", folder=folder.path)
    assert len(loaded) == 1
    assert loaded.source.endswith("3 rows, 2 with a blank question or option)")


def test_choices_of_bipo(folder):
    header = ["question", "A", "B", "matching", "not_matching"]
    row = ["Why?", "Because.", "No (idea).", "B", "A"]
    folder.write_csv("bipo/hallucination/test_infer.csv", [header, row])
    loaded = load_examples("bipo/hallucination/choice", "test", folder=folder.path)
    prompt = "Question: Why?\n\nChoices:\n(A) Because.\n(B) No (idea).\n\nAnswer: ("
    assert loaded.examples == (Example(prompt, "B", "A"),)
    chat = load_examples(
        "bipo/hallucination/choice", "test", prompt_format="chat", folder=folder.path
    )
    assert chat.policy == TokenPolicy(chat_template=True, answer_prefix="(")


def test_choices_of_bipo_without_letters(folder):
    header = ["question", "A", "B", "matching", "not_matching"]
    folder.write_csv("bipo/hallucination/test_infer.csv", [header, ["a", "b", "c", "A", "A"]])
    with pytest.raises(DataError, match=r"letters A and B in .*, row 1; found 'A' and 'A'"):
        load_examples("bipo/hallucination/choice", "test", folder=folder.path)


@pytest.mark.parametrize("name", ["caa/mmlu", "caa/truthfulqa", "bipo/hallucination/choice"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_sets_to_test_on_have_no_other_split(small, name, split):
    with pytest.raises(
        ArgumentError,
        match=rf"split='test' of {name}, which .* only; found split='{split}'. "
        r"Fit on a behaviour, such as \w+/hallucination, and pass split='test' here",
    ):
        load_examples(name, split, folder=small.path)


def test_behaviour_without_choices(small):
    with pytest.raises(DataError, match=r"found 'bipo/jailbreak/choice'\. Perhaps you mean"):
        load_examples("bipo/jailbreak/choice", "test", folder=small.path)


def test_absent_file_says_which_path_and_how_to_set_the_folder(small):
    with pytest.raises(
        DataError, match=r"myopic-reward.test_dataset_ab.json; found no such file"
    ) as e:
        load_examples("caa/myopic-reward", folder=small.path)
    assert str(small.path) in e.value.expected
    assert "COLDLENS_DATA" in e.value.fix


def test_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"found no folder .*nowhere\. Pass as folder="):
        load_examples("bipo/hallucination", folder=tmp_path / "nowhere")


def test_answer_that_is_no_letter_names_item_and_field(small):
    row = small.choice_row("Fit?", "yes", "no") | {"answer_matching_behavior": "yes"}
    small.write_caa([row], [small.choice_row("Test?", "yes", "no")])
    with pytest.raises(
        DataError, match=r"'answer_matching_behavior' of .*json, item 1; found 'yes'"
    ):
        load_examples("caa/refusal", folder=small.path)


def test_row_without_a_field_names_item_and_field(small):
    small.write("caa/test/refusal/test_dataset_ab.json", '[{"question": "Why?"}]')
    with pytest.raises(
        DataError, match=r"'answer_matching_behavior' in .*item 1; found 'question'"
    ):
        load_examples("caa/refusal", "test", folder=small.path)


def test_blank_answer_names_row_and_column(small):
    small.write_bipo([["Fit?", "Yes.", "No."]], [["Test?", " ", "No."]])
    with pytest.raises(
        DataError, match=r"text in field 'matching' of .*test\.csv, row 1; found ' '"
    ):
        load_examples("bipo/hallucination", "test", folder=small.path)


@pytest.mark.parametrize(
    ("prompt_format", "prompt"),
    [
        ("question", "Question: Test 0?\n\nAnswer:"),
        ("input", "Input: Test 0?\nResponse:"),
        ("plain", "Test 0?"),
    ],
)
def test_text_formats(small, prompt_format, prompt):
    options = {"split": "test", "prompt_format": prompt_format, "folder": small.path}
    free = load_examples("bipo/hallucination", **options)
    choice = load_examples("caa/refusal", **options)
    opening = prompt.replace("Test 0?", "Test 0?\n\nChoices:\n (A) yes\n (B) no") + " ("
    assert free[0] == Example(prompt, " Yes.", " No.")
    assert choice[0] == Example(opening, "A", "B")
    assert free.policy == choice.policy == TokenPolicy()


def test_chat_format_leaves_the_parenthesis_to_the_policy(small):
    options = {"split": "test", "prompt_format": "chat", "folder": small.path}
    choice = load_examples("caa/refusal", **options)
    assert choice[0] == Example("Test 0?\n\nChoices:\n (A) yes\n (B) no", "A", "B")
    assert choice.policy == TokenPolicy(chat_template=True, answer_prefix="(")
    free = load_examples("bipo/hallucination", **options)
    assert free[0] == Example("Test 0?", "Yes.", "No.")
    assert free.policy == TokenPolicy(chat_template=True)


def test_policy_of_the_caller_is_used(small):
    policy = TokenPolicy(bos="never")
    assert load_examples("caa/refusal", folder=small.path, policy=policy).policy == policy


def test_chat_format_refuses_a_policy_without_template(small):
    with pytest.raises(ArgumentError, match="chat_template=True beside prompt_format='chat'"):
        load_examples("caa/refusal", folder=small.path, prompt_format="chat", policy=TokenPolicy())
