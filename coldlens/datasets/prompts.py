"""`load_prompts`: what to let a model answer at length."""

import os
import random

from coldlens.datasets.caa import OPEN_QUESTIONS, open_questions
from coldlens.datasets.formats import format_for
from coldlens.datasets.load import load_examples
from coldlens.datasets.splits import check_number, check_split
from coldlens.errors import ArgumentError
from coldlens.examples.example import Text


def load_prompts(
    name: str,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    *,
    prompt_format: str | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> list[Text]:
    """Loads prompts without answers, as an evaluation of generated text reads them.

    ```python
    load_prompts("caa/refusal/open")
    load_prompts("demo/refusal/open", n=20)
    ```

    Args:
        name: `"caa/<behaviour>/open"`, or a name or path that `load_examples` takes, whose
            prompts are those of the examples: texts to be answered at length for
            `"bipo/<behaviour>"`, `"axbench/<concept>"` and `"demo/<behaviour>/open"`.
        split: `"train"`, `"validation"` or `"test"`.
        n: How many to draw at random; None for all.
        seed: Seed of the draw.
        prompt_format: See `load_examples`. For `"chat"` tokenise the prompts with
            `TokenPolicy(chat_template=True)`.
        folder: See `load_examples`.

    Returns:
        The prompts: strings, or token ids where a user's file has such.

    Raises:
        ArgumentError: If an argument is out of range, or there are only prompts to test on.
    """
    if name not in OPEN_QUESTIONS:
        examples = load_examples(name, split, n, seed, prompt_format=prompt_format, folder=folder)
        return [example.prompt for example in examples]
    check_split(split)
    if split != "test":
        raise ArgumentError(
            expected=f"split='test' of {name}, which has questions to test on only",
            found=f"split={split!r}",
            fix=f"Fit on {name.removesuffix('/open')}, and leave split out here",
        )
    style = format_for(prompt_format, None)
    prompts: list[Text] = [style.prompt(question) for question in open_questions(name, folder)]
    if n is None:
        return prompts
    check_number(n, len(prompts), name)
    return random.Random(seed).sample(prompts, n)
