"""`Method`: a direction's hyper-parameters, what it needs, and how it becomes a `Steering`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs, collect
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import Loss, loss_name, require_paired
from coldlens.models.guards import Layers, require_decoder, require_eval, resolve_layers
from coldlens.steering.provenance import provenance
from coldlens.steering.static import StaticSteering
from coldlens.steering.steering import Origin, Steering
from coldlens.vectors import coherence


@dataclass(frozen=True)
class Method(ABC):
    """A way to find a direction.

    A method says what it `needs` from the examples; one pass gathers that for any number of
    methods, and `solve` turns it into a `Steering`. To add a method, write one file with a frozen
    dataclass that has these two, and list it in `coldlens.directions`.
    """

    formula: ClassVar[int] = 1
    needs_pairs: ClassVar[bool] = False
    scale: ClassVar[str] = "as the formula gives it, not normalised"

    @property
    def forwards(self) -> int:
        """Cost of one new prompt, in plain forwards up to the layer; 0 for a static vector."""
        return 0

    def layer_forwards(self, width: int) -> int:
        """Returns the further forwards of one new prompt that each layer needs for itself.

        Args:
            width: d_model.

        Returns:
            How many.
        """
        return 0

    @property
    def pilot_forwards(self) -> int:
        """Forward passes over a batch of up to eight prompts that a fit needs."""
        return 0

    @property
    def extra_passes(self) -> int:
        """Passes over the examples, forward and backward, beyond the shared one."""
        return 0

    def layer_passes(self, width: int) -> int:
        """Returns the further passes over the examples that each layer needs for itself.

        Args:
            width: d_model.

        Returns:
            How many.
        """
        return 0

    @abstractmethod
    def needs(self, examples: ExampleSet) -> Needs:
        """Says what to gather from the examples.

        Args:
            examples: The examples, for the default loss.

        Returns:
            The needs.
        """

    @abstractmethod
    def solve(self, model: TransformerBridge, evidence: Evidence) -> Steering:
        """Computes the direction from what was gathered.

        Args:
            model: The model.
            evidence: What one pass over the examples found.

        Returns:
            The steering.
        """

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Checks model and examples before any work starts.

        Args:
            model: The model.
            examples: The examples.
        """
        require_decoder(model)
        require_eval(model)
        if self.needs_pairs:
            require_paired(examples, self.label)
        self.needs(examples)

    @torch.inference_mode(False)
    def fit(
        self,
        model: TransformerBridge,
        examples: ExampleSet | Iterable[Example],
        layers: Layers = None,
        *,
        batch_size: int = 8,
        progress: bool = False,
    ) -> Steering:
        """Finds the direction.

        Args:
            model: The model, in evaluation mode; nothing of it is changed.
            examples: The examples of the behaviour.
            layers: 0-based blocks; None for all of them, at the cost of one.
            batch_size: Examples a batch; it changes memory and speed, not results.
            progress: Show a progress bar.

        Returns:
            The steering, which points towards the behaviour.
        """
        chosen = ExampleSet.of(examples)
        self.check(model, chosen)
        evidence = collect(
            model,
            chosen,
            resolve_layers(model, layers),
            self.needs(chosen),
            batch_size=batch_size,
            progress=progress,
        )
        return self.solve(model, evidence)

    def with_loss(self, loss: Loss) -> "Method":
        """Returns the method with this loss, if it has a loss and none of its own.

        Args:
            loss: The loss.

        Returns:
            The method.
        """
        own = getattr(self, "loss", loss)
        return replace(self, **{"loss": loss}) if own is None else self

    def with_seed(self, seed: int) -> "Method":
        """Returns the method with this seed, if it has one.

        Args:
            seed: The seed.

        Returns:
            The method.
        """
        has_seed = any(entry.name == "seed" for entry in fields(self))
        return replace(self, **{"seed": seed}) if has_seed else self

    @property
    def label(self) -> str:
        """The class name with the settings that differ from the defaults, for tables.

        A setting that is a word stands alone: `ColdKernel(answer)`, but `RepE(center=False)`.
        """
        changed = [
            _shown(entry.name, getattr(self, entry.name))
            for entry in fields(self)
            if not _is_default(entry, getattr(self, entry.name))
        ]
        return type(self).__name__ + (f"({', '.join(changed)})" if changed else "")

    def origin(self, model: TransformerBridge, evidence: Evidence, *, loss: Any = None) -> Origin:
        """Records what a steering of this method was fitted on.

        Args:
            model: The model.
            evidence: What it was computed from.
            loss: The loss, where there is one.

        Returns:
            The record that every steering keeps.
        """
        positions = getattr(self, "positions", None)
        record = provenance(
            model,
            evidence.examples,
            method=self.label,
            settings=repr(self),
            scale=self.scale,
            formula=self.formula,
            loss=None if loss is None else loss_name(loss),
            positions=None if positions is None else str(positions),
            seed=getattr(self, "seed", None),
        )
        return Origin(
            model=model,
            layers=evidence.layers,
            provenance=record,
            policy=evidence.examples.policy,
            prompts=tuple(example.prompt for example in evidence.encoded),
        )

    def static(
        self,
        model: TransformerBridge,
        evidence: Evidence,
        vectors: Float[Tensor, "layer d"],
        *,
        samples: Float[Tensor, "layer example d"] | None = None,
        loss: Any = None,
    ) -> StaticSteering:
        """Wraps one vector a layer.

        Args:
            model: The model.
            evidence: What they were computed from.
            vectors: A vector a layer, towards the behaviour.
            samples: The per-example vectors behind them, for their coherence.
            loss: The loss, where there is one.

        Returns:
            The steering.
        """
        unknown = vectors.new_full((len(vectors),), float("nan"))
        spread = unknown if samples is None else coherence(samples)
        return StaticSteering(self.origin(model, evidence, loss=loss), vectors, spread)


def _is_default(entry: Field[Any], value: Any) -> bool:
    if entry.default_factory is not MISSING:
        return value == entry.default_factory()
    return value == entry.default


def _shown(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{name}={loss_name(value) if callable(value) else repr(value)}"
