"""How close the answers to a poll are to those of a group."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from coldlens.demo.groups import LETTERS, group_questions
from coldlens.demo.measure import letter_logits
from coldlens.demo.personas import group_persona, with_persona


def group_distance(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    group: str,
    split: str,
    where: str | None = None,
) -> float:
    """Mean total variation between the model's answers and those of a group.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        group: Name of the group.
        split: Split of the topics.
        where: Place of a profile that names the group, or None for no profile.

    Returns:
        Mean over the questions, from 0 (equal) to 1 (disjoint).

    Raises:
        ValueError: If `where` is no place.
    """
    if where not in (None, "before", "after"):
        raise ValueError(f"where is {where!r}: expected 'before', 'after' or None")
    asked = group_questions(group, split)
    prompts = [item.prompt for item in asked]
    if where is not None:
        prompts = [with_persona(prompt, group_persona(group), where) for prompt in prompts]
    found = letter_logits(model, tokenizer, prompts, LETTERS).softmax(-1)
    wanted = torch.tensor([item.distribution for item in asked])
    return (found - wanted).abs().sum(-1).mean().item() / 2
