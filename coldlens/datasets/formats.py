"""Prompt formats by name: how a question becomes a prompt and its answer a completion."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from coldlens.datasets.names import suggestion
from coldlens.errors import ArgumentError
from coldlens.examples.example import Example, TokenPolicy


def with_choices(question: str, options: Sequence[str]) -> str:
    r"""Lists the options of a question below it, as CAA does.

    Args:
        question: The question.
        options: At most 26 answers.

    Returns:
        Text such as `"Why?\n\nChoices:\n(A) Because\n(B) No idea"`.
    """
    lines = [
        f"({letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False)
    ]
    return "\n".join([f"{question}\n\nChoices:", *lines])


@dataclass(frozen=True)
class PromptFormat:
    """One way to write a question as a prompt.

    Attributes:
        template: Text of the prompt, with `{question}` where the question goes.
        chat: Leave the surroundings of the question to the tokenizer's chat template.
    """

    template: str
    chat: bool = False

    def choice(self, question: str, positive: str, negative: str) -> Example:
        r"""A multiple-choice example, answered by a letter after an opening parenthesis.

        Args:
            question: The question with its options.
            positive: Letter of the matching option, such as `"A"`.
            negative: Letter of the other option.

        Returns:
            The example; with the format `"question"` its prompt is
            `"Question: Pick one.\n (A) x\n (B) y\n\nAnswer: ("`.
        """
        return Example(self._choice_prompt(question), positive, negative)

    def poll(self, question: str, options: Sequence[str], distribution: Sequence[float]) -> Example:
        """A multiple-choice example with the answers of a group.

        Args:
            question: The question alone.
            options: The answers that it offers, at most 26.
            distribution: The share of the group that chooses each.

        Returns:
            The example: the prompt lists the options by letters, and the letters are its options.
        """
        return Example(
            self._choice_prompt(with_choices(question, options)),
            options=list(ascii_uppercase[: len(options)]),
            distribution=distribution,
        )

    def _choice_prompt(self, question: str) -> str:
        return self.prompt(question) + ("" if self.chat else " (")

    def open(self, question: str, positive: str, negative: str | None = None) -> Example:
        r"""An example that is answered in free text.

        Args:
            question: The question.
            positive: Text of the matching answer.
            negative: Text of the other answer, if there is one.

        Returns:
            The example; its completions begin with a space, except after a chat template:
            `Example("Question: Why?\n\nAnswer:", " Because.", " No idea.")`.
        """
        space = "" if self.chat else " "
        return Example(
            self.prompt(question), space + positive, None if negative is None else space + negative
        )

    def prompt(self, question: str) -> str:
        """Returns the prompt of a question that is answered in free text."""
        return self.template.format(question=question)

    def policy(self, multiple_choice: bool) -> TokenPolicy:
        """The token policy that belongs to the format.

        Args:
            multiple_choice: Whether the examples were made by `choice`.

        Returns:
            For a chat format a policy with the chat template, which puts the opening
            parenthesis of multiple choice behind it; else the default policy.
        """
        if not self.chat:
            return TokenPolicy()
        return TokenPolicy(chat_template=True, answer_prefix="(" if multiple_choice else "")


FORMATS = {
    "question": PromptFormat("Question: {question}\n\nAnswer:"),
    "input": PromptFormat("Input: {question}\nResponse:"),
    "chat": PromptFormat("{question}", chat=True),
    "plain": PromptFormat("{question}"),
}
"""The formats that `load_examples` takes as `prompt_format`."""


def format_named(name: str) -> PromptFormat:
    """Looks a format up.

    Args:
        name: A key of `FORMATS`.

    Returns:
        The format.

    Raises:
        ArgumentError: If there is no such format.
    """
    if name not in FORMATS:
        raise ArgumentError(
            expected=f"prompt_format to be one of {', '.join(map(repr, FORMATS))}",
            found=repr(name),
            fix=suggestion(name, FORMATS),
        )
    return FORMATS[name]


def format_for(name: str | None, policy: TokenPolicy | None) -> PromptFormat:
    """Looks a format up and checks that it goes with a token policy.

    Args:
        name: A key of `FORMATS`; None for `"question"`.
        policy: The policy that the caller wants, if any.

    Returns:
        The format.

    Raises:
        ArgumentError: If there is no such format, or it is for chats and the policy is not.
    """
    style = format_named(name or "question")
    if style.chat and policy is not None and not policy.chat_template:
        raise ArgumentError(
            expected="a policy with chat_template=True beside prompt_format='chat'",
            found=repr(policy),
            fix="Leave policy out, or choose another format",
        )
    return style
