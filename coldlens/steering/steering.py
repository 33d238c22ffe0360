"""`Steering`: a fitted direction, static or computed for each input."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import finite, is_whole
from coldlens.errors import ArgumentError, NumericsError, SteeringError
from coldlens.examples.batch import pad
from coldlens.examples.example import Text, TokenPolicy
from coldlens.examples.positions import Positions, check_positions, token_texts
from coldlens.examples.tokens import Ids, encode_prompts, real_tokens
from coldlens.files import as_path
from coldlens.models.guards import require_bridge, require_eval
from coldlens.models.offload import device_of
from coldlens.models.parameters import fingerprint
from coldlens.steering.intervention import (
    Displacements,
    Intervention,
    prompt_positions,
    steered,
)
from coldlens.steering.provenance import Provenance
from coldlens.steering.storage import read_file, write_file
from coldlens.words import counted

_ROWS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Origin:
    """What every steering keeps of its fit.

    Attributes:
        model: The model that it was fitted on.
        layers: The layers that it has a displacement for, ascending.
        provenance: Where it came from.
        policy: How strings become tokens.
        prompts: Token ids of the prompts of the examples.
    """

    model: TransformerBridge
    layers: tuple[int, ...]
    provenance: Provenance
    policy: TokenPolicy
    prompts: tuple[Ids, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Steering(ABC):
    """A fitted direction: adds `eta` times a displacement to the residual stream of a layer.

    Attributes:
        origin: Model, layers, provenance, token policy and prompts of the fit.
    """

    origin: Origin
    input_dependent: ClassVar[bool] = True

    @property
    def model(self) -> TransformerBridge:
        """The model that it was fitted on."""
        return self.origin.model

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that it has a displacement for, ascending."""
        return self.origin.layers

    @property
    def provenance(self) -> Provenance:
        """Where it came from."""
        return self.origin.provenance

    @property
    def prompts(self) -> tuple[Ids, ...]:
        """Token ids of the prompts of the examples, over which `vector` averages."""
        return self.origin.prompts

    def __repr__(self) -> str:
        """Returns the method, the layers and the model in a line."""
        record = self.provenance
        return (
            f"<{type(self).__name__} {record.method}, layers {list(self.layers)} of "
            f"{record.model_id}, {counted(record.examples_count, 'example')} of "
            f"{record.examples_name}>"
        )

    @abstractmethod
    def field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
        intervention: Intervention | None = None,
    ) -> Displacements:
        """Computes the displacement of a padded batch, in float32 or better.

        Args:
            tokens: Token ids.
            attention_mask: True at real tokens.
            layers: Some of the fitted layers, ascending.
            intervention: If given, each layer's displacement is taken given the interventions
                at the earlier layers, so that no effect counts twice.

        Returns:
            A displacement a layer; arbitrary at padding.
        """

    def begin_field(
        self,
        tokens: Int[Tensor, "row pos"],
        attention_mask: Bool[Tensor, "row pos"],
        layers: tuple[int, ...],
    ) -> Callable[[Displacements], Displacements]:
        """Computes the displacement of a padded batch whose residual stream is read elsewhere.

        Equal to `field` up to rounding; a method that needs the unsteered residual stream leaves
        it to the caller, who reads it anyway, and saves that forward pass.

        Args:
            tokens: Token ids.
            attention_mask: True at real tokens.
            layers: Some of the fitted layers, ascending.

        Returns:
            What makes the displacements of the unsteered residual streams of these layers, in the
            model's own dtype.
        """
        found = self.field(tokens, attention_mask, layers)
        return lambda _streams: found

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors that define the steering, for `save`."""

    def settings(self) -> dict[str, float]:
        """Returns the numbers that define the steering beside its tensors, for `save`."""
        return {}

    def displacement(
        self,
        inputs: str | Sequence[str] | Int[Tensor, "row pos"],
        attention_mask: Tensor | None = None,
    ) -> Displacements:
        """Computes the displacement of each token of new inputs, towards the behaviour.

        Args:
            inputs: Token ids [row, pos], or strings, which are tokenised under the policy of the
                examples and padded on the right.
            attention_mask: True (1) at real tokens of a tensor; all are real by default.

        Returns:
            By layer, shape [row, pos, d_model], without η; zero at padding.

        Raises:
            ExampleError: If the inputs are empty or too long, or the mask has another shape.
            NumericsError: If a displacement is not finite.
        """
        self.check_model(self.model)
        if isinstance(inputs, Tensor):
            tokens, mask = inputs, real_tokens(self.model, inputs, attention_mask)
        else:
            texts = [inputs] if isinstance(inputs, str) else inputs
            tokens, mask = pad(
                encode_prompts(self.model, texts, self.origin.policy),
                device=device_of(self.model.original_model),
            )
        pieces = [
            self.field(
                tokens[start : start + _ROWS_AT_ONCE],
                mask[start : start + _ROWS_AT_ONCE],
                self.layers,
            )
            for start in range(0, len(tokens), _ROWS_AT_ONCE)
        ]
        found = {
            layer: torch.cat([piece[layer] for piece in pieces]).masked_fill(~mask.unsqueeze(-1), 0)
            for layer in self.layers
        }
        _check_finite(found)
        return found

    def readings(self, prompts: Sequence[Text] | None = None) -> Float[Tensor, "layer prompt d"]:
        """Computes the displacement at the last token of each prompt.

        Args:
            prompts: Strings or token ids; by default the prompts of the examples.

        Returns:
            Shape [layer, prompt, d_model].
        """
        self.check_model(self.model)
        chosen = self.prompts if prompts is None else prompts
        ids = encode_prompts(self.model, chosen, self.origin.policy)
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        out: Tensor | None = None
        for start in range(0, len(order), _ROWS_AT_ONCE):
            index = order[start : start + _ROWS_AT_ONCE]
            tokens, mask = pad(
                [ids[place] for place in index], device=device_of(self.model.original_model)
            )
            found = self.field(tokens, mask, self.layers)
            last = mask.sum(1) - 1
            rows = torch.arange(len(index), device=last.device)
            read = torch.stack([found[layer][rows, last] for layer in self.layers])
            _check_finite(dict(zip(self.layers, read, strict=True)))
            if out is None:
                out = read.new_zeros(len(self.layers), len(ids), read.shape[-1])
            out[:, index] = read
        assert out is not None
        return out

    def vector(self, layer: int, prompts: Sequence[Text] | None = None) -> Float[Tensor, " d"]:
        """Returns one vector for a layer: for an input-dependent steering, a mean.

        Args:
            layer: A fitted layer; negative ones count from the model's last block.
            prompts: The prompts to average over, each read at its last token; by default the
                prompts of the examples. A static steering does not depend on them.

        Returns:
            Shape [d_model], in float32 or better, towards the behaviour.
        """
        place = self.place(layer)
        if prompts is not None:
            return self.readings(prompts)[place].mean(0)
        return self._means[place].clone()

    @cached_property
    def _means(self) -> Float[Tensor, "layer d"]:
        return self.readings().mean(1)

    def place(self, layer: SupportsIndex) -> int:
        """Returns the index of a layer among the fitted ones.

        Args:
            layer: The layer; negative ones count from the model's last block.

        Returns:
            Its index in `layers`.

        Raises:
            ArgumentError: If the steering was not fitted for it.
        """
        count = len(self.model.blocks)
        index = operator.index(layer) if is_whole(layer) else count
        wanted = index % count if -count <= index < count else None
        if wanted not in self.layers:
            raise ArgumentError(
                expected=f"a fitted layer, one of {list(self.layers)}",
                found=f"layer {layer!r}",
                fix="Fit again with layers=None for all layers"
                if is_whole(layer)
                else "Pass an int",
            )
        return self.layers.index(wanted)

    def chosen(self, layer: SupportsIndex | Sequence[SupportsIndex]) -> tuple[int, ...]:
        """Returns the fitted layers that are asked for.

        Args:
            layer: One layer, or several; negative ones count from the model's last block.

        Returns:
            0-based blocks, ascending, each once.

        Raises:
            ArgumentError: If there is none, or the steering was not fitted for one.
        """
        wanted = list(layer) if isinstance(layer, Iterable) else [layer]
        if not wanted:
            raise ArgumentError(
                expected="at least one layer to steer",
                found="none",
                fix=f"Choose among the fitted layers {list(self.layers)}",
            )
        return tuple(sorted({self.layers[self.place(one)] for one in wanted}))

    def check_model(self, model: TransformerBridge) -> None:
        """Checks that a model is the one that the steering was fitted on, as it was then.

        Args:
            model: The model.

        Raises:
            SteeringError: If its weights are others.
        """
        require_bridge(model)
        require_eval(model)
        _check_fitted_on(model, self.provenance)

    def apply(
        self,
        model: TransformerBridge,
        *,
        layer: SupportsIndex | Sequence[SupportsIndex],
        eta: float | int = 1.0,
        positions: Positions = "prompt",
    ) -> AbstractContextManager[None]:
        """Steers the model inside a `with` block.

        The first forward pass in the block defines the prompt: all of its tokens. A forward pass
        with a key-value cache, or over the tokens of the previous one and one more, goes on
        generating after that prompt; anything else is a new prompt. Generated tokens get the
        displacement of the prompt's last token. So score a prompt with its answer attached under
        a window or `last_prompt` only if you mean the answer to be part of the prompt, and open
        one block for each of several prompts that begin alike.

        Args:
            model: The model that the steering was fitted on.
            layer: One layer, or several: each then acts given the earlier ones.
            eta: Step size; +eta moves towards the behaviour.
            positions: `"prompt"`, `"last_prompt"`, `"all"`, `"generated"`, `"first_generated"`,
                or a window (start, stop) of the prompt.

        Returns:
            The context manager. Contexts nest: their displacements, each computed on the
            unsteered model, add up; a `fit` inside reads the unsteered model too. On leaving, a
            hook that did not fire in each forward pass is an error.

        Raises:
            ArgumentError: If no layer is given, or one that was not fitted, or eta is not finite.
        """
        self.check_model(model)
        finite("eta", eta)
        check_positions(positions, generating=True)
        return steered(model, self, self.chosen(layer), float(eta), positions)

    def explain(self, prompt: Text, positions: Positions = "prompt") -> str:
        """Shows which tokens of a prompt `apply` would read and which it would steer.

        Args:
            prompt: A string, tokenised under the policy of the examples, or token ids.
            positions: Where, as in `apply`.

        Returns:
            The tokens, steered ones in «», and two lines that say what is read and what happens
            to generated tokens.
        """
        check_positions(positions, generating=True)
        (ids,) = encode_prompts(self.model, [prompt], self.origin.policy)
        mask = prompt_positions(positions, torch.ones(1, len(ids), dtype=torch.bool))[0].tolist()
        words = token_texts(self.model, ids)
        shown = " ".join(
            f"«{word}»" if chosen else word for word, chosen in zip(words, mask, strict=True)
        )
        read = (
            f"The displacement of each of these {len(ids)} tokens is computed from it and the "
            "tokens before it, once for the prompt."
            if self.input_dependent
            else "The displacement is one vector a layer, whatever the prompt."
        )
        later = {
            "all": "Each generated token is steered",
            "generated": "Each generated token is steered",
            "first_generated": "The first generated token is steered, as it is read back",
        }.get(str(positions))
        source = " with the displacement of the prompt's last token" if self.input_dependent else ""
        after = f"{later}{source}." if later else "No generated token is steered."
        return f"{shown}\nSteered in «»: {sum(mask)} of {len(ids)}. {read}\n{after}"

    def save(self, path: str | Path) -> None:
        """Writes the steering as one safetensors file, whole or not at all.

        Args:
            path: The file; a steering that was saved there before is replaced, nothing else.
        """
        header = {
            "kind": type(self).__name__,
            "layers": list(self.layers),
            "settings": self.settings(),
            "policy": asdict(self.origin.policy),
            "prompts": [list(prompt) for prompt in self.prompts],
            "provenance": self.provenance.as_dict(),
        }
        write_file(as_path(path), self.tensors(), header)

    @staticmethod
    def load(path: str | Path, model: TransformerBridge) -> "Steering":
        """Reads a steering back.

        Args:
            path: The file.
            model: The model that it was fitted on.

        Returns:
            The steering.

        Raises:
            SteeringError: If the file is corrupt or no steering, or belongs to another model.
        """
        require_bridge(model)
        require_eval(model)
        tensors, header = read_file(as_path(path), device=device_of(model.original_model))
        kinds = {kind.__name__: kind for kind in _subclasses(Steering)}
        try:
            kind, rules = kinds[header["kind"]], header["policy"]
            if not rules["chat_template"]:  # without which an answer prefix was ignored once
                rules = rules | {"answer_prefix": ""}
            origin = Origin(
                model=model,
                layers=tuple(header["layers"]),
                provenance=Provenance(**header["provenance"]),
                policy=TokenPolicy(**rules),
                prompts=tuple(tuple(prompt) for prompt in header["prompts"]),
            )
            _check_fitted_on(model, origin.provenance)
            return kind.restore(origin, tensors, header["settings"])
        except (KeyError, TypeError) as error:
            raise SteeringError(
                expected="a steering written by this version of coldlens",
                found=f"a header that does not fit ({error}) in {path}",
                fix="Fit and save the steering again",
            ) from error

    @classmethod
    @abstractmethod
    def restore(
        cls, origin: Origin, tensors: dict[str, Tensor], settings: dict[str, float]
    ) -> "Steering":
        """Builds the steering from what `tensors` and `settings` returned.

        Args:
            origin: Model, layers, provenance, policy and prompts.
            tensors: The tensors.
            settings: The numbers.

        Returns:
            The steering.
        """


def _check_fitted_on(model: TransformerBridge, provenance: Provenance) -> None:
    found = fingerprint(model)
    if found != provenance.model_fingerprint:
        raise SteeringError(
            expected=f"the model that this steering was fitted on, {provenance.model_id} "
            f"with weights {provenance.model_fingerprint[:12]}",
            found=f"{model.cfg.model_name} with weights {found[:12]}",
            fix="Fit the steering on this model",
        )


def _subclasses(kind: type[Steering]) -> list[type[Steering]]:
    found = kind.__subclasses__()
    return found + [below for one in found for below in _subclasses(one)]


def _check_finite(found: Mapping[int, Tensor]) -> None:
    for layer, values in found.items():
        if not values.isfinite().all():
            raise NumericsError(
                expected="a finite displacement",
                found=f"inf or nan at layer {layer}",
                fix="Check the weights, or load the model in float32",
            )
