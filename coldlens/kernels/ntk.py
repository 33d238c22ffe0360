"""`EmpiricalNTK`: blocks of K_l((x,s),(x′,t)) = J_l(x)[s] J_l(x′)[t]ᵀ."""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import above_zero, at_least, is_whole, one_of
from coldlens.errors import ArgumentError, ExampleError
from coldlens.examples.batch import BOTH, Side
from coldlens.examples.example import Example, ExampleSet, Text
from coldlens.examples.tokens import Ids, encode, encode_prompts
from coldlens.kernels.cache import Kept
from coldlens.kernels.engines import ENGINES, Coverage, Setting
from coldlens.kernels.estimate import Estimate
from coldlens.kernels.parameter_choice import Part, select_parameters
from coldlens.kernels.points import Pair
from coldlens.kernels.sketch import Sketch, require_probes, sketch_of
from coldlens.kernels.structured import work_of
from coldlens.models.guards import (
    Layers,
    require_decoder,
    require_eval,
    require_raw,
    resolve_layer,
    resolve_layers,
)
from coldlens.models.parameters import upstream

Algorithm = Literal["structured", "jacobian", "sketched"]
"""`"structured"` never forms a d × P Jacobian; `"jacobian"` is its slow, literal reference.

`"sketched"` is for models whose d × d blocks are too dear: it computes V K Vᵀ for a few random
directions V, which costs as much as if d_model were their number, and gives unbiased estimates of
traces and norms; it has no blocks.
"""

At = Literal["all", "last_prompt"]

_KEPT = 8  # of max_memory, one part in so many may be results kept for later


class EmpiricalNTK:
    """The empirical neural tangent kernel of the residual stream, computed where it is asked for.

    A query x is a prompt read at its last token s. K_l((x,s),(x′,t)) is a d_model × d_model block
    whose rows index the coordinates of Z_l(x)[s]. It is taken over all parameters upstream of
    Z_l; a tied embedding counts as an embedding only, since its use as unembedding is downstream.

    Attributes:
        model: The model; nothing of it is changed.
        layers: 0-based blocks, ascending.
        queries: Token ids of the queries.
        examples: Token ids of the examples.
        method: The algorithm.
        positions: Which tokens of the examples `cross_block` covers.
    """

    def __init__(
        self,
        model: TransformerBridge,
        queries: Sequence[Text],
        examples: ExampleSet | Iterable[Example],
        layers: Layers = None,
        *,
        method: Algorithm = "structured",
        positions: At = "all",
        params: Part | Collection[Part] | None = None,
        probes: int = 32,
        seed: int = 0,
        max_memory: int = 2 << 30,
        audit: bool = True,
        progress: bool = False,
    ) -> None:
        """Checks the arguments and tokenises; blocks are computed when they are asked for.

        Args:
            model: The model, in evaluation mode, with raw numerics.
            queries: Prompts as strings, tokenised under the policy of the examples, or token ids.
            examples: The examples.
            layers: 0-based blocks; None for all.
            method: `"structured"`, `"jacobian"` or `"sketched"`, which has only `traces` and
                `sketch`.
            positions: `"all"`: `cross_block` covers every token of an example; `"last_prompt"`:
                only the last one of its prompt.
            params: Which parameters to take the kernel over: `"attention"`, `"mlp"`, `"norms"`,
                `"embeddings"`, `"block 3"`, a function of a parameter's name, or several of these.
                At layers that none of them is upstream of, the kernel is zero.
            probes: Random directions of a sketch, at least 3; d_model of them or more are exact.
            seed: Seed of the directions, which are drawn by a generator of their own.
            max_memory: Bytes that the structured work may take beside the model.
            audit: Check the structured kernel once a layer against a plain reverse pass, which
                finds a forgotten parameter.
            progress: Show progress bars.
        """
        require_decoder(model)
        require_eval(model)
        require_raw(model, "EmpiricalNTK")
        one_of("method", method, tuple(ENGINES))
        one_of("positions", positions, ("all", "last_prompt"))
        above_zero("max_memory", max_memory)
        require_probes(probes)
        at_least(0, "seed", seed)
        chosen = ExampleSet.of(examples)
        self.model, self.layers, self.positions = model, resolve_layers(model, layers), positions
        self.queries = tuple(encode_prompts(model, queries, chosen.policy))
        self.examples = tuple(encode(model, chosen))
        prompts = [example.prompt for example in self.examples]
        # Each different sequence counts once: queries often are prompts of examples.
        points = tuple(dict.fromkeys((*self.queries, *prompts)))
        place = {ids: index for index, ids in enumerate(points)}
        self._query_places = tuple(place[ids] for ids in self.queries)
        self._example_places = tuple(place[ids] for ids in prompts)
        names = select_parameters(model, upstream(model, max(self.layers)), params)
        setting = Setting(
            model,
            points,
            self.layers,
            names,
            int(max_memory),
            audit,
            progress,
            min(probes, model.cfg.d_model),
            seed,
        )
        self.method: Algorithm = method
        self._engine = ENGINES[method](setting)
        self._kept = Kept(setting.max_memory // _KEPT)

    def self_block(self, layer: int, query: int) -> Float[Tensor, "d d"]:
        """Computes K((x,s),(x,s)) of one query.

        Args:
            layer: 0-based block, one of `layers`.
            query: Its place.

        Returns:
            Shape [d_model, d_model], symmetric and positive semi-definite.
        """
        place = _at(self._query_places, query, "query")
        return self._blocks(layer, [(place, place)])[0]

    def example_block(self, layer: int, example: int) -> Float[Tensor, "d d"]:
        """Computes K of an example with itself, at the last token of its prompt.

        Args:
            layer: 0-based block, one of `layers`.
            example: Its place.

        Returns:
            Shape [d_model, d_model], symmetric and positive semi-definite.
        """
        place = _at(self._example_places, example, "example")
        return self._blocks(layer, [(place, place)])[0]

    def cross_block(
        self, layer: int, query: int, example: int, side: Side = "positive"
    ) -> Float[Tensor, "pos d d"]:
        """Computes K((x,s),(xᵢ,t)) for the tokens t of one example.

        Args:
            layer: 0-based block, one of `layers`.
            query: Place of the query.
            example: Place of the example.
            side: The completion that follows the example's prompt.

        Returns:
            A block for each token of prompt ⊕ completion, or for `positions="last_prompt"` one
            for the last token of the prompt. Rows index the query's coordinate, columns the
            example's.

        Raises:
            ExampleError: If the example has no such completion.
        """
        one_of("side", side, BOTH)
        self._require_blocks()
        place = _at(self._query_places, query, "query")
        other = _at(self._example_places, example, "example")
        if side == "negative" and self.examples[example].negative is None:
            raise ExampleError(
                expected="an example with a negative completion",
                found=f"example {example} without one",
                fix='Use side="positive"',
            )
        if self.positions == "last_prompt":
            return self._blocks(layer, [(place, other)])
        ids = self.examples[example].sequence(side)
        return self._across(self._layer(layer), self.queries[query], ids)

    def blocks(self, layer: int) -> Float[Tensor, "query example d d"]:
        """Computes K of every query with every example at the last token of its prompt.

        Args:
            layer: 0-based block, one of `layers`.

        Returns:
            The blocks.
        """
        return self._by_query(self._blocks(layer, self._cross_pairs))

    def traces(self, layer: int) -> Float[Tensor, "query example"]:
        """Computes tr K of every query with every example, without forming the blocks.

        Args:
            layer: 0-based block, one of `layers`.

        Returns:
            The traces; unbiased estimates if the method is `"sketched"`.
        """
        return self._by_query(self._found(layer, self._cross_pairs, trace=True))

    def sketch(self, layer: int) -> Sketch:
        """Estimates traces, norms and alignments of the blocks, with intervals.

        Args:
            layer: 0-based block, one of `layers`.

        Returns:
            Estimates for every query with every example at the last token of its prompt.

        Raises:
            ArgumentError: If the method is another than `"sketched"`.
        """
        if self.method != "sketched":
            raise ArgumentError(
                expected='method="sketched" for a sketch',
                found=f"method={self.method!r}, which is exact",
                fix="Use blocks or traces",
            )
        found = self._by_query(self._found(layer, self._cross_pairs))
        return sketch_of(found, self.model.cfg.d_model)

    def query_blocks(self, layer: int) -> Float[Tensor, "query d d"]:
        """Computes K of every query with itself.

        Args:
            layer: 0-based block, one of `layers`.

        Returns:
            The blocks.
        """
        return self._blocks(layer, [(place, place) for place in self._query_places])

    def coverage(self, layer: int) -> Coverage:
        """Tells how each parameter is handled, after one pass over the first query.

        Args:
            layer: 0-based block, one of `layers`.

        Returns:
            The names.
        """
        return self._engine.coverage(self._layer(layer))

    def estimate(self) -> Estimate:
        """Estimates the cost of `blocks` and `query_blocks`, or of `sketch`, for all layers.

        Takes one pass over the first query to see what the model is made of.

        Returns:
            Operations, memory, and how the share of each parameter is computed.
        """
        setting, pairs, rows = self._engine.setting, self._cross_pairs, self.model.cfg.d_model
        if self.method == "sketched":
            rows = setting.probes
        else:
            pairs += [(place, place) for place in self._query_places]
        return self._engine.estimate(work_of(setting.points, pairs, rows, trace=False))

    @property
    def _cross_pairs(self) -> list[Pair]:
        return [(query, other) for query in self._query_places for other in self._example_places]

    def _layer(self, layer: int) -> int:
        found = resolve_layer(layer, len(self.model.blocks))
        if found not in self.layers:
            raise ArgumentError(
                expected=f"one of the layers {list(self.layers)}",
                found=f"layer {layer}",
                fix="Name it in layers=, or pass layers=None for all",
            )
        return found

    def _blocks(self, layer: int, pairs: Sequence[Pair]) -> Float[Tensor, "pair d d"]:
        self._require_blocks()
        return self._found(layer, pairs)

    def _require_blocks(self) -> None:
        if self.method == "sketched":
            raise ArgumentError(
                expected='method="structured" or method="jacobian" for blocks',
                found='method="sketched", which forms none',
                fix="Use sketch or traces, or another method",
            )

    def _by_query(self, found: Float[Tensor, "pair ..."]) -> Float[Tensor, "query example ..."]:
        return found.unflatten(0, (len(self.queries), len(self.examples)))

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _found(
        self, layer: int, pairs: Sequence[Pair], *, trace: bool = False
    ) -> Float[Tensor, "pair ..."]:
        """Returns blocks or traces, of which each unordered pair is computed once."""
        layer = self._layer(layer)
        ordered = [(min(pair), max(pair)) for pair in pairs]
        known = {pair: self._kept.get((layer, trace, pair)) for pair in ordered}
        found = {pair: value for pair, value in known.items() if value is not None}
        missing = [pair for pair in known if pair not in found]
        if missing:
            new = self._engine.blocks(layer, missing, trace=trace)
            for pair, value in new.items():
                self._kept.add((layer, trace, pair), value)
            found |= new
        turned = [
            found[key] if trace or key == pair else found[key].T
            for key, pair in zip(ordered, pairs, strict=True)
        ]
        return torch.stack(turned)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _across(self, layer: int, query: Ids, example: Ids) -> Float[Tensor, "pos d d"]:
        key = (layer, query, example)
        value = self._kept.get(key)
        if value is None:
            value = self._engine.across(layer, query, example)
            self._kept.add(key, value)
        return value.clone()


def _at(places: tuple[int, ...], index: int, what: str) -> int:
    if not is_whole(index) or not -len(places) <= index < len(places):
        raise ArgumentError(
            expected=f"{what} between 0 and {len(places) - 1}",
            found=f"{what} {index!r}",
            fix="Count from 0",
        )
    return places[index]
