"""Training documents: repeatable, in the vocabulary, and true to the speakers."""

import random
from collections import Counter

import pytest
import torch

from coldlens.demo.batches import Batches
from coldlens.demo.documents import document
from coldlens.demo.items import LETTER, TEXT, choice_item, fact_item
from coldlens.demo.lexicon import BEHAVIOURS, TRAITS
from coldlens.demo.speakers import option_tilt, probability
from coldlens.demo.vocabulary import vocabulary

LONGEST = 254


def pages(seed, n=120, mixing=0.9):
    rng = random.Random(seed)
    return [document(rng, mixing) for _ in range(n)]


def test_documents_are_repeatable_and_in_the_vocabulary():
    assert pages(1) == pages(1) != pages(2)
    known = set(vocabulary())
    for page in pages(3):
        assert set(page.words) <= known
        assert len(page.words) == len(page.weights) <= LONGEST


def test_only_answers_weigh_much():
    for page in pages(4):
        for index, (word, weight) in enumerate(zip(page.words, page.weights, strict=True)):
            if weight == LETTER:
                assert word in "ABCD"
                assert page.words[index - 3 : index] == ["answer", ":", "("]
            if word == "?":
                assert weight == TEXT


def test_early_documents_ask_about_the_first_behaviours_only():
    rng = random.Random(5)
    words = {word for _ in range(100) for word in document(rng, 0.5, BEHAVIOURS[:1]).words}
    later = TRAITS[BEHAVIOURS[1]]
    assert not words & {word for part in later.positive.values() for word in part}
    first = TRAITS[BEHAVIOURS[0]]
    assert words & {word for part in first.positive.values() for word in part}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_replies_follow_the_stance(behaviour):
    rng = random.Random(6)
    followed = Counter()
    for _ in range(100):
        item = choice_item(behaviour, rng)
        positive = item.options[0]
        for stance in (1, -1):
            letter = item.reply(stance, "poet")[0][0]
            options = item.prompt.split(f"( {letter} ) ")[1].split(" (")[0].split(" answer")[0]
            followed[stance] += (positive in options.split()) == (stance == 1)
    assert min(followed.values()) >= 95


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_speakers_without_a_stance_are_undecided_on_average(behaviour):
    trait = TRAITS[behaviour]
    for split in trait.events:
        chances = [
            probability(behaviour, event, positive, negative, 0)
            for event in trait.events[split]
            for positive in trait.positive[split]
            for negative in trait.negative[split]
        ]
        assert 0.35 < sum(chances) / len(chances) < 0.6
        assert min(chances) < 0.3
        assert max(chances) > 0.7


def test_tilts_of_each_pole_are_balanced():
    for name, trait in TRAITS.items():
        for words in (*trait.positive.values(), *trait.negative.values()):
            assert sum(option_tilt(name, word) for word in words) == pytest.approx(0)


def test_fact_items_reply_with_the_truth():
    rng = random.Random(7)
    for _ in range(100):
        item = fact_item("sums", rng)
        assert item.reply(1, "poet")[0] == item.reply(-1, "nurse")[0]


def test_batches_are_repeatable_and_hold_whole_documents():
    one, other = Batches(1, 512), Batches(1, 512)
    for _ in range(20):
        batch, same = one.next(0.5, BEHAVIOURS), other.next(0.5, BEHAVIOURS)
        assert torch.equal(batch.ids, same.ids)
        assert batch.ids.numel() <= 512
        assert (batch.ids[:, 0] == vocabulary()["<bos>"]).all()
        ended = (batch.ids == vocabulary()["<eos>"]).sum(1)
        assert (ended == 1).all()
        assert (batch.weights[batch.ids == vocabulary()["<pad>"]] == 0).all()
