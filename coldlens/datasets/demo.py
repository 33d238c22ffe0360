"""The questions of the bundled model's world, as examples."""

from coldlens.datasets.public import check_behaviour
from coldlens.examples.example import Example, ExampleSet, TokenPolicy


def demo_behaviours() -> tuple[str, ...]:
    """The behaviours of the demo world.

    Returns:
        Their names; `"<name>/open"` is each without options.
    """
    from coldlens.demo.world import BEHAVIOURS

    return (*BEHAVIOURS, *(f"{behaviour}/open" for behaviour in BEHAVIOURS))


def load_demo(behaviour: str, split: str, policy: TokenPolicy | None = None) -> ExampleSet:
    """All questions of one split about one behaviour; an unknown behaviour is a `DataError`.

    Args:
        behaviour: One of `demo_behaviours()`.
        split: `"train"`, `"validation"` or `"test"`.
        policy: How strings become tokens; None for the default policy.

    Returns:
        The examples: letters after an open parenthesis, or short texts for `"<name>/open"`.
    """
    from coldlens.demo.world import open_questions, questions

    check_behaviour("demo", behaviour, demo_behaviours())
    if behaviour.endswith("/open"):
        examples = tuple(
            Example(asked.prompt, f" {asked.positive}", f" {asked.negative}")
            for asked in open_questions(behaviour.removesuffix("/open"), split)
        )
    else:
        examples = tuple(
            Example(asked.prompt, asked.positive, asked.negative)
            for asked in questions(behaviour, split)
        )
    name = f"demo/{behaviour}"
    return ExampleSet(
        examples, name=name, source=f"{name}, {split}", policy=policy or TokenPolicy()
    )
