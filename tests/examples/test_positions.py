"""Selections against masks written by hand, with padding on either side."""

import pytest
import torch
import zoo

from coldlens.examples.batch import batch_of, batches, pad
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.positions import select, show_positions
from coldlens.examples.tokens import Encoded

ENCODED = [
    Encoded((11, 12, 13, 14), (21, 22), (31,)),
    Encoded((15, 16), (23, 24, 25), (32, 33)),
    Encoded((17, 18, 19), (26,), (34, 35, 36, 37)),
]

# By name: the selected tokens of each row (positive side), as ids.
BY_HAND = {
    "prompt": [[11, 12, 13, 14], [15, 16], [17, 18, 19]],
    "last_prompt": [[14], [16], [19]],
    "answer": [[21, 22], [23, 24, 25], [26]],
    "last_answer": [[22], [25], [26]],
    "all": [[11, 12, 13, 14, 21, 22], [15, 16, 23, 24, 25], [17, 18, 19, 26]],
    (0, 1): [[11], [15], [17]],
    (1, 3): [[12, 13], [16], [18, 19]],
    (-1, None): [[14], [16], [19]],
    (-2, -1): [[13], [15], [18]],
    (None, -1): [[11, 12, 13], [15], [17, 18]],
    (None, None): [[11, 12, 13, 14], [15, 16], [17, 18, 19]],
    (1, None): [[12, 13, 14], [16], [18, 19]],
    (-99, 1): [[11], [15], [17]],
    (1, 99): [[12, 13, 14], [16], [18, 19]],
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("positions", BY_HAND, ids=str)
def test_selections_by_hand(positions, side):
    batch = batch_of(ENCODED, [0, 1, 2], ["positive"], padding_side=side)
    mask = select(positions, batch.prompt_mask, batch.answer_mask)
    found = [batch.tokens[row][mask[row]].tolist() for row in range(3)]
    assert found == BY_HAND[positions]
    assert not (mask & ~batch.attention_mask).any()


@pytest.mark.parametrize("side", ["right", "left"])
def test_masks_of_a_batch_with_both_sides(side):
    batch = batch_of(ENCODED, [2, 0], ["positive", "negative"], padding_side=side)
    assert batch.size == 2
    assert (batch.rows("positive"), batch.rows("negative")) == (slice(0, 2), slice(2, 4))
    expected = [
        ([17, 18, 19], [26]),
        ([11, 12, 13, 14], [21, 22]),
        ([17, 18, 19], [34, 35, 36, 37]),
        ([11, 12, 13, 14], [31]),
    ]
    for row, (prompt, answer) in enumerate(expected):
        assert batch.tokens[row][batch.prompt_mask[row]].tolist() == prompt
        assert batch.tokens[row][batch.answer_mask[row]].tolist() == answer
    assert torch.equal(batch.attention_mask, batch.prompt_mask | batch.answer_mask)
    assert not (batch.prompt_mask & batch.answer_mask).any()


def test_padding_by_hand():
    right, mask = pad([(5, 6, 7), (8,)], side="right")
    assert right.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]
    left, mask = pad([(5, 6, 7), (8,)], side="left")
    assert left.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[True] * 3, [False, False, True]]


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_batches_hold_every_example_once(size):
    found = list(batches(ENCODED, ["positive", "negative"], size))
    assert sorted(index for batch in found for index in batch.index) == [0, 1, 2]
    assert all(batch.size <= size for batch in found)
    for batch in found:
        for row, index in enumerate(batch.index):
            assert (
                tuple(batch.tokens[row][batch.prompt_mask[row]].tolist()) == ENCODED[index].prompt
            )


EXAMPLES = ExampleSet((Example("red blue green", " yes no", " no"), Example("one two", " A")))


@pytest.mark.parametrize(
    ("positions", "lines"),
    [
        (
            "last_prompt",
            [
                "0 positive: <s> red blue «green» yes no",
                "0 negative: <s> red blue «green» no",
                "1 positive: <s> one «two» A",
            ],
        ),
        (
            "answer",
            [
                "0 positive: <s> red blue green «yes» «no»",
                "0 negative: <s> red blue green «no»",
                "1 positive: <s> one two «A»",
            ],
        ),
        (
            (-2, None),
            [
                "0 positive: <s> red «blue» «green» yes no",
                "0 negative: <s> red «blue» «green» no",
                "1 positive: <s> «one» «two» A",
            ],
        ),
    ],
    ids=str,
)
def test_show_positions(model, positions, lines):
    assert show_positions(model, EXAMPLES, positions).splitlines() == lines


def test_show_positions_of_fewer_examples(model):
    assert len(show_positions(model, EXAMPLES, "all", n=1).splitlines()) == 2


def test_show_positions_takes_a_list():
    shown = show_positions(zoo.bridge("llama"), [Example("a user asks", " yes", " no")], "answer")
    assert "«yes»" in shown
