"""Example sets: slicing, samples that can be drawn again, hashes."""

from dataclasses import FrozenInstanceError, replace

import pytest

from coldlens.examples.example import Example, ExampleSet, TokenPolicy

EXAMPLES = ExampleSet(
    tuple(Example(f"prompt {i}", f" yes {i}", f" no {i}") for i in range(12)),
    name="dozen",
    source="here",
    policy=TokenPolicy(bos="never"),
)
POLL = Example("prompt 11", " yes 11", " no 11", options=("A", "B"), distribution=(0.5, 0.5))


def test_sequence_behaviour():
    assert len(EXAMPLES) == 12
    assert list(EXAMPLES)[3] is EXAMPLES[3]
    assert EXAMPLES[-1].prompt == "prompt 11"
    assert EXAMPLES[3] in EXAMPLES
    assert ExampleSet.of(EXAMPLES) is EXAMPLES
    assert ExampleSet.of(iter([EXAMPLES[0]])).examples == (EXAMPLES[0],)


def test_a_slice_keeps_name_source_and_policy():
    part = EXAMPLES[2:8:2]
    assert [example.prompt for example in part] == ["prompt 2", "prompt 4", "prompt 6"]
    assert (part.name, part.source, part.policy) == ("dozen", "here", TokenPolicy(bos="never"))


def test_a_sample_is_drawn_again_by_its_seed():
    once, again, other = EXAMPLES.sample(5), EXAMPLES.sample(5, seed=0), EXAMPLES.sample(5, seed=1)
    assert once == again
    assert once.examples != other.examples
    assert len(set(once)) == 5
    assert set(once) <= set(EXAMPLES)
    assert (once.name, once.policy) == (EXAMPLES.name, EXAMPLES.policy)
    assert set(EXAMPLES.sample(12)) == set(EXAMPLES)


@pytest.mark.parametrize(
    "changed",
    [
        replace(EXAMPLES, policy=TokenPolicy(bos="auto")),
        replace(EXAMPLES, policy=TokenPolicy(bos="never", answer_prefix="(")),
        replace(EXAMPLES, policy=TokenPolicy(bos="never", chat_template=True)),
        replace(EXAMPLES, examples=EXAMPLES.examples[::-1]),
        EXAMPLES[:-1],
        replace(EXAMPLES, examples=(*EXAMPLES.examples[:-1], Example("prompt 11", " yes 11"))),
        replace(EXAMPLES, examples=(*EXAMPLES.examples[:-1], POLL)),
    ],
    ids=["bos", "prefix", "template", "order", "fewer", "no negative", "options"],
)
def test_the_hash_changes(changed):
    assert changed.hash() != EXAMPLES.hash()


def test_the_hash_is_of_contents_only():
    same = ExampleSet(EXAMPLES.examples, "other name", "elsewhere", TokenPolicy(bos="never"))
    assert same.hash() == EXAMPLES.hash()
    assert len(EXAMPLES.hash()) == 64
    assert EXAMPLES.hash().startswith("3f3aea3c2fe238b0")  # as before there were options
    text, ids = ExampleSet((Example("1", "2"),)), ExampleSet((Example([1], [2]),))
    assert text.hash() != ids.hash()


def test_paired_and_frozen():
    assert EXAMPLES.paired
    assert not ExampleSet((EXAMPLES[0], Example("a", "b"))).paired
    assert Example([1, 2], (3,)) == Example((1, 2), [3])
    assert Example([1, 2], [3]).prompt == (1, 2)
    with pytest.raises(FrozenInstanceError):
        EXAMPLES[0].prompt = "other"
