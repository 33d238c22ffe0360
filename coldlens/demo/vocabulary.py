"""The vocabulary of the world and its word-level tokenizer."""

from collections.abc import Iterator

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from coldlens.demo import facts, groups, questions
from coldlens.demo.lexicon import AGENTS, FUNCTION, SCAFFOLD, TIMES, TRAITS

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


def phrases() -> Iterator[str]:
    """Every phrase that the generator can write.

    Yields:
        Words separated by spaces.
    """
    yield from SCAFFOLD
    yield from FUNCTION
    for trait in TRAITS.values():
        for words in (trait.events, trait.positive, trait.negative):
            for phrase in words.values():
                yield from phrase
        yield from trait.positive_cues
        yield from trait.negative_cues
    for words in (*AGENTS.values(), *TIMES.values(), *groups.TOPICS.values()):
        yield from words
    yield from groups.GROUPS
    for scale in groups.SCALES:
        yield from scale
    for relation, values in facts.RELATIONS.items():
        yield relation
        for value, entities in values.items():
            yield value
            yield from entities
    yield from facts.NUMBERS
    for template in (*questions.OPENERS, *questions.STYLES, *groups.OPENERS):
        yield template.replace("{}", " ")


def vocabulary() -> dict[str, int]:
    """Ids of all words: the special tokens first, then the words in alphabetical order.

    Returns:
        Mapping from word to id.
    """
    words = sorted({word for phrase in phrases() for word in phrase.split()})
    return {word: index for index, word in enumerate((*SPECIAL, *words))}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level tokenizer that puts `<bos>` in front of a text.

    Returns:
        The tokenizer.
    """
    ids = vocabulary()
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", ids["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
