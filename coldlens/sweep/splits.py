"""`Splits`: the examples to learn from, the questions to choose by and those to report on."""

import os
from dataclasses import dataclass
from itertools import combinations

from coldlens.datasets import load_examples
from coldlens.errors import ExampleError
from coldlens.examples.example import Example, ExampleSet
from coldlens.words import counted


@dataclass(frozen=True)
class Splits:
    """The data of one behaviour; no question should be in two of the splits (`shared`).

    Attributes:
        train: What examples are drawn from.
        validation: Questions by which layer and eta are chosen.
        test: Questions on which the choice is reported.
    """

    train: ExampleSet
    validation: ExampleSet
    test: ExampleSet

    def shared(self) -> list[str]:
        """Says which splits have examples in common, so that something was learnt from them.

        Returns:
            A sentence for each such pair of splits.
        """
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        found = []
        for (one, left), (other, right) in combinations(parts.items(), 2):
            both = len(set(left) & set(right))
            if both:
                found.append(f"{counted(both, 'example')} of {other} also in {one}")
        return found

    def drawn(self, size: int, seed: int) -> ExampleSet:
        """Draws training examples.

        Args:
            size: How many.
            seed: Seed of the draw.

        Returns:
            The examples.

        Raises:
            ExampleError: If there are not so many.
        """
        if size > len(self.train):
            raise ExampleError(
                expected=f"at most {len(self.train)} examples, all that {self.train.name!r} has "
                "for training",
                found=f"size {size}",
                fix="Use smaller sizes",
            )
        return self.train.sample(size, seed)


def load_splits(
    name: str | os.PathLike[str],
    *,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    prompt_format: str | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Splits:
    """Loads the three splits of a data set.

    Args:
        name: As in `load_examples`: `"demo/sycophancy"`, `"caa/refusal"`, a file with a field
            `split`.
        validation: How many questions to draw for validation; None, or more than there are, for
            all.
        test: The same for the test.
        seed: Seed of these draws.
        prompt_format: As in `load_examples`.
        folder: As in `load_examples`.

    Returns:
        The splits.
    """

    def load(split: str, n: int | None) -> ExampleSet:
        whole = load_examples(name, split, prompt_format=prompt_format, folder=folder)
        return whole if n is None or n >= len(whole) else whole.sample(n, seed)

    return Splits(load("train", None), load("validation", validation), load("test", test))


def demo_facts(n: int = 80) -> ExampleSet:
    """Returns facts and sums of the demo world, which no trait should change.

    Args:
        n: How many: half of them from the validation split, then half from the test split.

    Returns:
        Questions whose positive answer is the correct letter.
    """
    from coldlens.demo.world import facts

    asked = facts("validation", n - n // 2) + facts("test", n // 2)
    examples = tuple(
        Example(one.prompt, one.positive, one.negative, clusters=(one.situation,)) for one in asked
    )
    return ExampleSet(examples, name="demo/facts", source=f"demo/facts, {n} questions")
