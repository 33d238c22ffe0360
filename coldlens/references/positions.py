"""Selections of positions of one sequence, as a list of indices."""


def position_indices(
    positions: str | tuple[int | None, int | None], prompt: int, completion: int
) -> list[int]:
    """Resolves a selection for prompt ⊕ completion.

    Args:
        positions: `last_prompt`, `prompt`, `answer`, `last_answer`, `all`, or a half-open window
            (start, stop) of the prompt, whose negative bounds count from the prompt's end.
        prompt: Number of prompt tokens.
        completion: Number of completion tokens.

    Returns:
        0-based indices, ascending.
    """
    if isinstance(positions, tuple):
        return list(range(prompt))[slice(*positions)]
    return {
        "last_prompt": [prompt - 1],
        "prompt": list(range(prompt)),
        "answer": list(range(prompt, prompt + completion)),
        "last_answer": [prompt + completion - 1],
        "all": list(range(prompt + completion)),
    }[positions]
