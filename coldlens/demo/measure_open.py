"""What the model says when it is asked without options."""

from collections import Counter
from collections.abc import Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from coldlens.demo.lexicon import BEHAVIOURS
from coldlens.demo.personas import persona, with_persona
from coldlens.demo.questions import open_questions
from coldlens.demo.scoring import score_open

_LONGEST = 8


@torch.no_grad()
def continuations(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    seed: int = 0,
) -> list[str]:
    """Sample one continuation of each prompt.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompts: Texts to continue.
        seed: Seed of the sampling; the global random state is restored afterwards.

    Returns:
        Texts without special tokens.
    """
    encoded = tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids = model.generate(  # pyright: ignore[reportAttributeAccessIssue]
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=_LONGEST,
            do_sample=True,
        )
    width = encoded["input_ids"].shape[1]
    return tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)


def open_shares(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    behaviour: str,
    split: str,
    sign: int = 0,
    where: str = "before",
) -> tuple[float, float, float]:
    """How often sampled answers show a behaviour, its opposite, or neither.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        behaviour: Name of the behaviour.
        split: Split of the questions, all of which are asked.
        sign: Persona in the prompt: +1, -1, or 0 for none.
        where: Place of the persona.

    Returns:
        Shares of the scores +1, -1 and 0.

    Raises:
        ValueError: If `where` is no place.
    """
    if where not in ("before", "after"):
        raise ValueError(f"where is {where!r}: expected 'before' or 'after'")
    prompts = [item.prompt for item in open_questions(behaviour, split)]
    if sign:
        profiles = persona(behaviour, sign, n=len(prompts))
        prompts = [
            with_persona(prompt, text, where)
            for prompt, text in zip(prompts, profiles, strict=True)
        ]
    texts = continuations(model, tokenizer, prompts)
    counts = Counter(score_open(behaviour, text) for text in texts)
    total = len(texts)
    return counts[1] / total, counts[-1] / total, counts[0] / total


def open_table(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, split: str
) -> list[tuple[str, tuple[float, ...]]]:
    """Shares of open answers that show each behaviour.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        split: Split of the questions.

    Returns:
        Behaviour and shares: without a persona, of neither pole without a persona, under the
        persona before and after the question, and under the opposite persona before it.
    """
    rows = []
    for name in BEHAVIOURS:
        shown, _, neither = open_shares(model, tokenizer, name, split)
        told = [
            open_shares(model, tokenizer, name, split, sign, where)[0]
            for sign, where in ((1, "before"), (1, "after"), (-1, "before"))
        ]
        rows.append((name, (shown, neither, *told)))
    return rows
