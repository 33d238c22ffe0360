"""The questions of the bundled model's world, as examples."""

from coldlens.datasets.names import check_name
from coldlens.examples.example import Example, ExampleSet, TokenPolicy


def demo_names() -> tuple[str, ...]:
    """What the demo world asks about.

    Returns:
        The name of each behaviour; `"<name>/open"`, the same without options; and
        `"groups/<group>"`, how a group answers polls.
    """
    from coldlens.demo.world import BEHAVIOURS, GROUPS

    return (
        *BEHAVIOURS,
        *(f"{behaviour}/open" for behaviour in BEHAVIOURS),
        *(f"groups/{group}" for group in GROUPS),
    )


def load_demo(behaviour: str, split: str, policy: TokenPolicy | None = None) -> ExampleSet:
    """All questions of one split about one behaviour; an unknown behaviour is a `DataError`.

    Args:
        behaviour: One of `demo_names()`.
        split: `"train"`, `"validation"` or `"test"`.
        policy: How strings become tokens; None for the default policy.

    Returns:
        The examples: letters after an open parenthesis, or short texts for `"<name>/open"`; those
        of a group have the options A to D and their distribution. Their clusters are the wordings
        of both answers, for a group the topic.
    """
    name = f"demo/{behaviour}"
    check_name(name, [f"demo/{each}" for each in demo_names()], "the behaviours of demo")
    return ExampleSet(
        _examples(behaviour, split),
        name=name,
        source=f"{name}, {split}",
        policy=policy or TokenPolicy(),
    )


def _examples(behaviour: str, split: str) -> tuple[Example, ...]:
    from coldlens.demo.world import group_questions, open_questions, questions

    if behaviour.startswith("groups/"):
        return tuple(
            Example(
                asked.prompt,
                options=asked.options,
                distribution=asked.distribution,
                clusters=(asked.topic,),
            )
            for asked in group_questions(behaviour.removeprefix("groups/"), split)
        )
    if behaviour.endswith("/open"):
        return tuple(
            Example(
                asked.prompt, f" {asked.positive}", f" {asked.negative}", clusters=asked.wordings
            )
            for asked in open_questions(behaviour.removesuffix("/open"), split)
        )
    return tuple(
        Example(asked.prompt, asked.positive, asked.negative, clusters=asked.wordings)
        for asked in questions(behaviour, split)
    )
