"""What the model does: rates of matching answers with and without profiles."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from coldlens.demo.lexicon import BEHAVIOURS
from coldlens.demo.personas import persona, with_persona
from coldlens.demo.questions import Question, questions

_ROWS = 256


@torch.no_grad()
def letter_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    letters: Sequence[str],
) -> torch.Tensor:
    """Logits of answer letters after each prompt.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompts: Texts that end after an open parenthesis.
        letters: The letters.

    Returns:
        Logits, shape [prompts, letters].
    """
    columns = tokenizer.convert_tokens_to_ids(list(letters))
    rows = []
    for start in range(0, len(prompts), _ROWS):
        encoded = tokenizer(
            list(prompts[start : start + _ROWS]),
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        last = encoded["attention_mask"].sum(1) - 1
        logits = model(input_ids=encoded["input_ids"]).logits
        rows.append(logits[torch.arange(len(last)), last][:, columns])
    return torch.cat(rows)


def matching_rate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[Question]
) -> float:
    """Share of questions on which the matching letter is the likelier one.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        asked: Questions with two options.

    Returns:
        A rate from 0 to 1.
    """
    logits = letter_logits(model, tokenizer, [item.prompt for item in asked], ("A", "B"))
    matching = torch.tensor([item.positive == "A" for item in asked])
    return ((logits[:, 0] > logits[:, 1]) == matching).double().mean().item()


def told(asked: Sequence[Question], behaviour: str, sign: int, where: str) -> list[Question]:
    """Questions with profiles of a persona, whose wordings alternate.

    Args:
        asked: Questions.
        behaviour: Behaviour that the profiles speak of.
        sign: +1 for the behaviour, -1 for its opposite.
        where: `before` or `after` the question.

    Returns:
        Questions with profiles.
    """
    profiles = persona(behaviour, sign, n=len(asked))
    return [with_persona(item, text, where) for item, text in zip(asked, profiles, strict=True)]


def persona_matrix(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: str,
    n: int,
    sign: int,
    where: str,
) -> torch.Tensor:
    """Matching rate on every behaviour under the persona of every behaviour.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        split: Split of the questions.
        n: Questions a behaviour.
        sign: +1 for the behaviour, -1 for its opposite.
        where: Place of the profile.

    Returns:
        Rates, shape [personas, behaviours asked about].
    """
    asked = {name: questions(name, split, n) for name in BEHAVIOURS}
    return torch.tensor(
        [
            [
                matching_rate(model, tokenizer, told(asked[column], row, sign, where))
                for column in BEHAVIOURS
            ]
            for row in BEHAVIOURS
        ]
    )


def base_rates(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, split: str, n: int
) -> torch.Tensor:
    """Matching rate on every behaviour without a profile.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        split: Split of the questions.
        n: Questions a behaviour.

    Returns:
        Rates, shape [behaviours].
    """
    return torch.tensor(
        [matching_rate(model, tokenizer, questions(name, split, n)) for name in BEHAVIOURS]
    )


def specificity(matrix: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """How much further a persona moves its own behaviour than the others on average.

    Args:
        matrix: Rates under personas, shape [personas, behaviours].
        base: Rates without a persona, shape [behaviours].

    Returns:
        Own move divided by the mean absolute move of the others, shape [personas].
    """
    moves = (matrix - base).abs()
    own = moves.diagonal()
    others = (moves.sum(1) - own) / (len(own) - 1)
    return own / others.clamp_min(1e-6)
