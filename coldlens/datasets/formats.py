"""Prompt formats by name: how a question becomes a prompt and its answer a completion."""

from dataclasses import dataclass

from coldlens.datasets.names import suggestion
from coldlens.errors import ArgumentError
from coldlens.examples.example import Example, TokenPolicy


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
        opening = "" if self.chat else " ("
        return Example(self.template.format(question=question) + opening, positive, negative)

    def open(self, question: str, positive: str, negative: str) -> Example:
        r"""An example that is answered in free text.

        Args:
            question: The question.
            positive: Text of the matching answer.
            negative: Text of the other answer.

        Returns:
            The example; its completions begin with a space, except after a chat template:
            `Example("Question: Why?\n\nAnswer:", " Because.", " No idea.")`.
        """
        space = "" if self.chat else " "
        return Example(self.template.format(question=question), space + positive, space + negative)

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
