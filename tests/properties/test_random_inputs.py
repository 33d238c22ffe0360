"""Properties over random inputs: windows are Python's slices, batches lose and repeat nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coldlens.errors import ExampleError
from coldlens.examples.batch import batch_of, batches, pad
from coldlens.examples.positions import select
from coldlens.examples.tokens import Encoded

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)
BOUND = st.none() | st.integers(-10, 10)
SIDES = st.sampled_from(["left", "right"])


def encoded(lengths):
    return [Encoded(tuple(range(1, n + 1)), (20, 21)[: 1 + n % 2], (30,)) for n in lengths]


@given(LENGTHS, BOUND, BOUND, SIDES)
def test_a_window_is_a_slice_of_the_prompt(lengths, start, stop, side):
    rows = encoded(lengths)
    batch = batch_of(rows, range(len(rows)), ["positive"], padding_side=side)
    expected = [list(row.prompt[_inside(start, len(row.prompt)) : stop]) for row in rows]
    if not all(expected):
        with pytest.raises(ExampleError, match="to select a token in every row"):
            select((start, stop), batch.prompt_mask, batch.answer_mask)
        return
    mask = select((start, stop), batch.prompt_mask, batch.answer_mask)
    found = [tokens[chosen].tolist() for tokens, chosen in zip(batch.tokens, mask, strict=True)]
    assert found == expected


def _inside(start, length):
    return start if start is None or start >= -length else 0


@given(LENGTHS, st.integers(1, 6))
def test_batches_hold_every_example_once(lengths, batch_size):
    rows = encoded(lengths)
    seen = []
    for batch in batches(rows, ["positive", "negative"], batch_size):
        assert batch.size <= batch_size
        for side in ("positive", "negative"):
            for place, index in enumerate(batch.index):
                row = batch.rows(side).start + place
                real = batch.tokens[row][batch.attention_mask[row]].tolist()
                assert tuple(real) == rows[index].sequence(side)
        seen += batch.index
    assert sorted(seen) == list(range(len(rows)))


@given(LENGTHS, SIDES)
def test_padding_can_be_undone(lengths, side):
    sequences = [tuple(range(n)) for n in lengths]
    tokens, mask = pad(sequences, side=side)
    assert [tuple(t[m].tolist()) for t, m in zip(tokens, mask, strict=True)] == sequences
    assert torch.equal(mask.sum(1), torch.tensor(lengths))
