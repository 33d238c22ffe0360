"""`Provenance`: what a saved vector must say about itself to be used again."""

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from coldlens.examples.example import ExampleSet
from coldlens.models.guards import numerics, working_dtype
from coldlens.models.load import model_id
from coldlens.models.parameters import fingerprint

PACKAGES = ("coldlens", "torch", "transformers", "transformer-lens")


@dataclass(frozen=True)
class Provenance:
    """Where a steering came from.

    Attributes:
        method: The method's label in tables, for instance `"ColdKernel(answer)"`.
        settings: The method with all its settings.
        formula: Version of the method's formula; a formula never changes under one version.
        loss: The loss with its settings, or None for a method without one.
        positions: The positions of the examples that were read, or None.
        examples_name: Name of the example set.
        examples_source: Where the examples came from.
        examples_hash: SHA-256 of the examples and their token policy.
        examples_count: N.
        token_rule: The token policy.
        model_id: Name of the model.
        model_fingerprint: Fingerprint of its weights.
        numerics: `"raw"` or `"compatibility"`.
        dtype: Dtype of the statistics.
        seed: Seed of whatever was random, or None.
        scale: What the length of the displacement means.
        hook: Hook point, with `{layer}` for the 0-based block.
        sign: The sign convention.
        versions: Versions of the packages that matter.
    """

    method: str
    settings: str
    formula: int
    loss: str | None
    positions: str | None
    examples_name: str
    examples_source: str
    examples_hash: str
    examples_count: int
    token_rule: str
    model_id: str
    model_fingerprint: str
    numerics: str
    dtype: str
    scale: str
    seed: int | None = None
    hook: str = "blocks.{layer}.hook_resid_post"
    sign: str = "+eta * displacement moves towards the behaviour"
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as plain JSON values."""
        return asdict(self)


def provenance(
    model: TransformerBridge,
    examples: ExampleSet,
    *,
    method: str,
    settings: str,
    formula: int,
    scale: str,
    loss: str | None = None,
    positions: str | None = None,
    seed: int | None = None,
) -> Provenance:
    """Records where a steering came from.

    Args:
        model: The model.
        examples: The examples.
        method: The method's label.
        settings: The method with all its settings.
        formula: Version of its formula.
        scale: What the length of the displacement means.
        loss: The loss, if there is one.
        positions: The positions read in the examples.
        seed: The seed, if anything was random.

    Returns:
        The record.
    """
    return Provenance(
        method=method,
        settings=settings,
        formula=formula,
        scale=scale,
        loss=loss,
        positions=positions,
        examples_name=examples.name,
        examples_source=examples.source,
        examples_hash=examples.hash(),
        examples_count=len(examples),
        token_rule=repr(examples.policy),
        model_id=model_id(model),
        model_fingerprint=fingerprint(model),
        numerics=numerics(model),
        dtype=str(working_dtype(model)).removeprefix("torch."),
        seed=seed,
        versions={name: version(name) for name in PACKAGES},
    )
