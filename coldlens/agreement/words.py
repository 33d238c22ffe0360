"""A kernel agreement in words."""

import math
from typing import Any

import pandas as pd

from coldlens.agreement.ladder import RUNGS
from coldlens.words import counted

STEPS = {
    "full": "the unembedding's part of the tied embedding is left out",
    "last_position": "only the last prompt token counts",
    "scalar": "each block becomes a multiple of the identity",
    "constant": "all pairs share one multiple",
}
"""What each rung leaves out, beyond the one before."""


def in_words(
    ladder: pd.DataFrame,
    table: pd.DataFrame,
    by_layer: pd.DataFrame,
    positions: pd.DataFrame,
    about: dict[str, Any],
) -> str:
    """Says where each approximation costs most, where the position mass sits, and the rest.

    Args:
        ladder: `KernelAgreement.ladder`.
        table: `KernelAgreement.table`.
        by_layer: `KernelAgreement.by_layer`.
        positions: `KernelAgreement.positions`.
        about: `KernelAgreement.about`.

    Returns:
        Lines of text, one a layer and one a topic.
    """
    lines = [
        f"{about['examples_name']} on {about['model_id']}: "
        f"{counted(about['examples_count'], 'example')}, "
        f"queries: {about['queries']} ({about['queries_from']}), loss {about['loss']}.",
        f"Mean cosine to the exact displacement ({about['exact']}), {' | '.join(RUNGS)}:",
        *_ladder_lines(ladder),
        _alignment_line(table),
        _position_line(positions),
        *_figure_lines(by_layer),
    ]
    if about["tied_embedding"]:
        missed = ladder[ladder.rung == "full"].groupby("layer").relative_error.mean()
        lines.append(
            "The embedding is tied: the kernel sum leaves out its part as unembedding, "
            f"{_by_layer(100 * missed, '.1f', ' %')} of the exact displacement."
        )
    return "\n".join(lines)


def _ladder_lines(ladder: pd.DataFrame) -> list[str]:
    cosines = ladder.pivot_table(index="layer", columns="rung", values="cosine", dropna=False)
    cosines = cosines[list(RUNGS)]
    lines = []
    for layer, values in zip(cosines.index, cosines.to_numpy().tolist(), strict=True):
        chain = " | ".join(f"{value:.3f}" for value in values)
        before = [1.0, *values[:-1]]
        lost = {rung: old - new for rung, old, new in zip(RUNGS, before, values, strict=True)}
        worst = max(lost, key=lambda rung: -math.inf if math.isnan(lost[rung]) else lost[rung])
        lines.append(
            f"  layer {layer}: {chain}; most is lost ({lost[worst]:.3f}) when {STEPS[worst]}."
        )
    return lines


def _alignment_line(table: pd.DataFrame) -> str:
    means = table.groupby("layer").alignment.mean()
    text = f"Alignment of the blocks with the identity (1: a multiple of it): {_by_layer(means)}"
    same = table.groupby("same_prompt").alignment.mean().to_dict()
    if len(same) == 2:
        text += f"; {same[True]:.2f} for a prompt with itself, {same[False]:.2f} for two prompts"
    return text + "."


def _position_line(positions: pd.DataFrame) -> str:
    place, queries = positions.position.clip(-1, 1), len(set(positions["query"]))
    parts = []
    for key, name in ((-1, "earlier tokens"), (0, "the last prompt token"), (1, "completions")):
        mass = 100 * positions[place == key].groupby("layer").share.sum() / queries
        if len(mass):
            parts.append(f"{name} {_by_layer(mass, '.0f', ' %')}")
    return "Share of the kernel sum that comes from " + "; from ".join(parts) + "."


def _figure_lines(by_layer: pd.DataFrame) -> list[str]:
    rows = by_layer.set_index("layer")
    return [
        "Gradients of the examples at the last prompt token: mean pairwise cosine "
        f"{_by_layer(rows.coherence)}; first singular share "
        f"{_by_layer(rows.first_singular_share)}.",
        _spectra_line(rows),
        "Over pairs the scale tr K/d varies by "
        f"{_by_layer(100 * rows.scale_variation, '.0f', ' %')}.",
    ]


def _spectra_line(rows: pd.DataFrame) -> str:
    if rows.effective_rank.isna().all():
        return "The kernel was sketched: alignment and scale are estimates; there are no spectra."
    return (
        f"Kernel of a query with itself: effective rank {_by_layer(rows.effective_rank, '.1f')}; "
        f"top eigenvalue {_by_layer(100 * rows.top_eigenvalue_share, '.0f', ' %')} of the trace."
    )


def _by_layer(values: pd.Series, form: str = ".2f", unit: str = "") -> str:
    """Returns the values of the first, the middle and the last layer, or fewer."""
    places = sorted({0, len(values) // 2, len(values) - 1})
    shown = [f"{values.iloc[k]:z{form}}{unit} (layer {values.index[k]})" for k in places]
    return ", ".join(shown)
