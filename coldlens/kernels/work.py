"""What kernel blocks cost before they are computed: operations, memory, the form of each share."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.kernels.inventory import Structure
from coldlens.models.parameters import parameters

Form = Literal["Gram", "weight"]


@dataclass(frozen=True)
class Work:
    """Some blocks of one kernel.

    Attributes:
        lengths: Tokens of each sequence, by its place (or another key that `pairs` use).
        pairs: The blocks.
        rows: Rows r of a block: d_model, or the number of probes.
        trace: Whether only traces are wanted.
    """

    lengths: Mapping[Any, int]
    pairs: Collection[tuple[Any, Any]]
    rows: int
    trace: bool

    @property
    def places(self) -> tuple[Any, ...]:
        """The sequences that some block needs."""
        return tuple(dict.fromkeys(place for pair in self.pairs for place in pair))

    def operations(self, form: Form, outputs: int, inputs: int) -> int:
        """Counts the multiply-adds of the share of one linear map.

        Args:
            form: How it is computed.
            outputs: m.
            inputs: n.

        Returns:
            Σ_pairs r m (T T′ + r min(T, T′)) for Gram, Σ_sequences r T m n + Σ_pairs r² m n for
            weight, with 1 in place of the second r for traces.
        """
        columns = 1 if self.trace else self.rows
        if form == "Gram":
            tokens = [(self.lengths[i], self.lengths[j]) for i, j in self.pairs]
            return self.rows * outputs * sum(t * u + columns * min(t, u) for t, u in tokens)
        made = sum(self.lengths[place] for place in self.places)
        return self.rows * outputs * inputs * (made + columns * len(self.pairs))

    def form(self, outputs: int, inputs: int | None) -> Form:
        """Returns the form with fewer operations; an embedding only has the Gram form."""
        if inputs is None:
            return "Gram"
        gram, weight = (self.operations(form, outputs, inputs) for form in ("Gram", "weight"))
        return "Gram" if gram <= weight else "weight"


@dataclass(frozen=True)
class Footprint:
    """Memory of the sweep of one structure, in bytes.

    Attributes:
        outputs: Outputs of all linear maps, a segment.
        widest: Most outputs of one linear map.
        dense: Entries of all other parameters, a segment.
        stream: d_model.
        heads: Attention heads.
        itemsize: Bytes of a number.
    """

    outputs: tuple[int, ...]
    widest: int
    dense: tuple[int, ...]
    stream: int
    heads: int
    itemsize: int

    @staticmethod
    def of(model: TransformerBridge, structure: Structure, dtype: torch.dtype) -> "Footprint":
        """Measures a structure.

        Args:
            model: The model.
            structure: How its parameters are handled.
            dtype: The kernel's dtype.

        Returns:
            The footprint.
        """
        known = parameters(model)
        return Footprint(
            tuple(sum(site.outputs for site in maps.values()) for maps in structure.maps),
            max((site.outputs for site in structure.sites), default=0),
            tuple(sum(known[name].tensor.numel() for name in dense) for dense in structure.dense),
            model.cfg.d_model,
            model.cfg.n_heads,
            dtype.itemsize,
        )

    def held(self, tokens: int) -> int:
        """Returns what one row of one sequence holds in the largest segment."""
        segments = zip(self.outputs, self.dense, strict=True)
        return self.itemsize * max(
            tokens * (outputs + 3 * self.stream) + dense for outputs, dense in segments
        )

    def passing(self, tokens: int) -> int:
        """Returns what one row of one sequence needs beside that to go back through a block."""
        width = max(self.outputs) + 4 * self.stream + 3 * self.heads * tokens
        return self.itemsize * tokens * width

    def graph(self, tokens: int) -> int:
        """Returns the graph of one sequence."""
        width = 2 * sum(self.outputs)
        width += len(self.outputs) * (8 * self.stream + 4 * self.heads * tokens)
        return self.itemsize * tokens * width

    def across(self, tokens: int, others: int) -> int:
        """Returns what one row needs to go back through one sequence and on through another."""
        kept = (tokens + others) * sum(self.outputs) + sum(self.dense)
        width = 2 * max(self.outputs) + 8 * self.stream + 4 * self.heads * max(tokens, others)
        return self.itemsize * (kept + max(tokens, others) * width)
