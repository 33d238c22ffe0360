"""LoRA: low-rank fine-tuning of all linear maps, as a change of the parameters."""

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.capture import Evidence, Needs
from coldlens.checks import above_zero
from coldlens.directions.anchored import anchored
from coldlens.directions.trained import Trained, frozen, require_logit_loss
from coldlens.errors import ArgumentError, ModelError
from coldlens.examples.batch import batch_of
from coldlens.examples.example import ExampleSet
from coldlens.losses import Loss, default_loss, sides_of
from coldlens.models.forward import residuals
from coldlens.models.guards import require_raw, working_dtype
from coldlens.models.offload import device_of
from coldlens.models.parameters import exchanged, parameters, upstream
from coldlens.models.precision import full_precision
from coldlens.steering.parametric import DifferenceSteering

logger = logging.getLogger(__name__)

AGREEMENT = 1e-3
"""How far a copy's logits may be from the model's, relative to their norm. Rounding in float32
gives some 1e-6; weights that the copy does not have give far more."""


@dataclass(frozen=True, kw_only=True)
class LoRA(Trained):
    """Δ_l(x) = Z_l(x; θ + (α/r) B A) − Z_l(x; θ), with B A of rank r trained for each linear map.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", by the `peft` package:
    all linear maps of attention and MLP, B from zero, A from peft's own initialisation, Adam, no
    dropout; learning rate and epochs are this package's choice. It trains a Hugging Face copy of
    the model, in float32 or better, and merges it; the model itself stays as it is. One training
    serves all layers.

    Attributes:
        rank: r.
        alpha: α; the update is scaled by α/r.
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data.
    """

    rank: int = 8
    alpha: float | int = 16
    lr: float = 2e-4
    epochs: int = 5
    loss: Loss | None = None

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        above_zero("rank", self.rank)
        above_zero("alpha", self.alpha)

    @property
    def forwards(self) -> int:
        """One forward without the change and one with it."""
        return 2

    @property
    def extra_passes(self) -> int:
        """Passes over the examples: one an epoch."""
        return self.epochs

    def check(self, model: TransformerBridge, examples: ExampleSet) -> None:
        """Also checks that peft is there and that the parameters are the model's own."""
        super().check(model, examples)
        _peft()
        require_raw(model, self.label)

    def needs(self, examples: ExampleSet) -> Needs:
        """Returns a gradient, in whose pass the loss is checked."""
        loss = self.loss or default_loss(examples)
        require_logit_loss(loss)
        sides_of(loss, examples)
        return Needs(gradients=frozenset({(loss, "all")}))

    @torch.inference_mode(False)
    def solve(self, model: TransformerBridge, evidence: Evidence) -> DifferenceSteering:
        """Returns the change of the parameters after the training."""
        loss = self.loss or default_loss(evidence.examples)
        with frozen(model):
            merged = self._trained(model, evidence, anchored(model, evidence, loss))
        origin = self.origin(model, evidence, loss=loss)
        return DifferenceSteering(origin, _change(model, merged, evidence), step=1.0, scale=1.0)

    def _trained(self, model: TransformerBridge, evidence: Evidence, loss: Loss) -> nn.Module:
        plain = plain_copy(model, evidence.encoded[0].prompt)
        devices = [plain.device] if plain.device.type == "cuda" else []
        with torch.random.fork_rng(devices), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft's remarks on GPT-2's transposed maps, and more
            torch.manual_seed(self.seed)
            peft = _peft()
            config = peft.LoraConfig(
                r=self.rank, lora_alpha=self.alpha, target_modules="all-linear", lora_dropout=0.0
            )
            adapted = peft.get_peft_model(plain, config).eval()
        weights = [value for value in adapted.parameters() if value.requires_grad]
        sides = sides_of(loss, evidence.examples)

        def losses(index: Sequence[int], _: float) -> Tensor:
            batch = batch_of(evidence.encoded, index, sides, device=plain.device)
            with full_precision(model):
                logits = adapted(
                    input_ids=batch.tokens,
                    attention_mask=batch.attention_mask.long(),
                    use_cache=False,
                ).logits
            return loss(logits, batch)

        generator = torch.Generator().manual_seed(self.seed)
        curve = self.train(weights, losses, len(evidence.encoded), generator)
        if self.held_out:
            taken = curve[curve.isfinite().all(1)].tolist()
            logger.info("%s: losses by epoch, trained on and held out: %s", self.label, taken)
        return adapted.merge_and_unload()


def plain_copy(model: TransformerBridge, prompt: tuple[int, ...]) -> Any:
    """Builds the Hugging Face model of a bridge anew, from its configuration and weights.

    A bridge rewires the modules of the model that it wraps, and splits fused maps; here they are
    as Hugging Face has them.

    Args:
        model: The model, in float32 or better; nothing of it is shared.
        prompt: Token ids on which both are compared.

    Returns:
        The copy in evaluation mode, in float32 or better.

    Raises:
        ModelError: If it does not compute what the model computes.
    """
    original: Any = model.original_model
    device = device_of(original)
    with exchanged(model, {}):
        known = {
            name.replace("._original_component", ""): value
            for name, value in original.state_dict().items()
        }
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        built: Any = type(original)(copy.deepcopy(original.config))
    built = built.to(device, working_dtype(model)).eval()
    missing = sorted(built.state_dict().keys() - known.keys())
    if missing:
        raise ModelError(
            expected="a bridge that still has every tensor of its Hugging Face model",
            found=f"no {missing[0]} and {len(missing) - 1} others",
            fix="Use FineTune, which works on the bridge's own parameters",
        )
    built.load_state_dict({name: known[name] for name in built.state_dict()})
    tokens = torch.tensor([prompt], device=device)
    with torch.no_grad(), full_precision(model):
        theirs = built(tokens, use_cache=False).logits
        ours = residuals(model, tokens, torch.ones_like(tokens).bool(), [0], logits=True)[1]
    assert ours is not None
    error = ((theirs - ours).norm() / ours.norm()).item()
    if not error <= AGREEMENT:
        raise ModelError(
            expected="a Hugging Face copy that computes what the bridge does",
            found=f"logits that differ by {error:.1e} of their norm",
            fix="Boot the model again: some of its weights were changed after it was booted",
        )
    return built


def _change(model: TransformerBridge, merged: nn.Module, evidence: Evidence) -> dict[str, Tensor]:
    """Returns what the parameters of a bridge around the merged copy have more than the model's."""
    moved = parameters(
        TransformerBridge.boot_transformers(
            model.cfg.model_name,
            hf_model=merged,
            tokenizer=copy.deepcopy(model.tokenizer),
            device=str(next(merged.parameters()).device),
            dtype=working_dtype(model),
        )
    )
    own: Mapping[str, Any] = upstream(model, max(evidence.layers))
    change = {
        name: moved[name].tensor.detach() - found.tensor.detach() for name, found in own.items()
    }
    return {name: value for name, value in change.items() if value.any()}


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ArgumentError(
            expected="the package peft for LoRA",
            found=f"none ({error})",
            fix="Install it with: pip install 'coldlens[lora]'",
        ) from error
    return peft
