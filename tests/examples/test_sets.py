"""Example sets: slicing, samples that can be drawn again, hashes."""

from dataclasses import FrozenInstanceError, replace
from inspect import unwrap

import pytest

from coldlens.errors import ExampleError, ExampleTypeError
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
        replace(EXAMPLES, policy=TokenPolicy("never", chat_template=True, answer_prefix="(")),
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


def test_clusters_are_kept_but_neither_compared_nor_hashed():
    labelled = replace(
        EXAMPLES,
        examples=tuple(
            replace(example, clusters=[f"template {place % 3}", "5"])
            for place, example in enumerate(EXAMPLES)
        ),
    )
    assert labelled == EXAMPLES
    assert labelled.hash() == EXAMPLES.hash()
    assert len({labelled[3], EXAMPLES[3]}) == 1
    assert labelled.clusters[:4] == [(f"template {place}", "5") for place in (0, 1, 2, 0)]
    assert labelled[4:6].clusters == labelled.clusters[4:6]
    drawn = labelled.sample(5, seed=2)
    assert [labelled.clusters[labelled.examples.index(one)] for one in drawn] == drawn.clusters
    assert replace(labelled[1], prompt="other").clusters == ("template 1", "5")
    assert EXAMPLES.clusters == [()] * 12


def test_clusters_that_are_no_labels():
    for clusters in ("topic", [1, 2], {"b", "a"}, 5):
        with pytest.raises(ExampleTypeError, match=r"`clusters` as a list of labels; found"):
            unwrap(Example.__init__)(EXAMPLES[0], "a", " b", clusters=clusters)


def test_every_example_has_as_many_clusters():
    examples = (Example("a", "b", clusters=["x"]), Example("c", "d"))
    with pytest.raises(ExampleError, match=r"in every example of 'polls'; found 0 to 1"):
        ExampleSet(examples, "polls")


def test_paired_and_frozen():
    assert EXAMPLES.paired
    assert not ExampleSet((EXAMPLES[0], Example("a", "b"))).paired
    assert Example([1, 2], (3,)) == Example((1, 2), [3])
    assert Example([1, 2], [3]).prompt == (1, 2)
    with pytest.raises(FrozenInstanceError):
        EXAMPLES[0].prompt = "other"
