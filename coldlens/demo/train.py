"""Train the demo model: `python -m coldlens.demo.train`."""

import argparse
import dataclasses
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from coldlens.demo import WEIGHTS
from coldlens.demo.batches import Batches

from coldlens.demo.facts import facts
from coldlens.demo.items import LETTER
from coldlens.demo.lexicon import BEHAVIOURS
from coldlens.demo.measure import base_rates, matching_rate, persona_matrix, specificity
from coldlens.demo.vocabulary import build_tokenizer


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        steps: Number of optimiser steps.
        tokens: Tokens in a batch.
        width: Size of the residual stream.
        layers: Number of blocks.
        heads: Attention heads in a block.
        hidden: Width of the feed-forward layers.
        learning_rate: Peak learning rate.
        warm_up: Steps of linear warm-up.
        first: Number of behaviours at the start.
        all_from: Share of the run after which all behaviours are asked about.
        plain_until: Share of the run in which all documents ask one question about told traits.
        mixed_from: Share of the run after which documents are mixed as often as ever.
        mixing: Final share of mixed documents.
        seed: Seed of the initial weights and the documents.
        report_every: Steps between two reports.
    """

    steps: int = 8000
    tokens: int = 3072
    width: int = 96
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    learning_rate: float = 5e-3
    warm_up: int = 100
    first: int = 2
    all_from: float = 0.2
    plain_until: float = 0.2
    mixed_from: float = 0.35
    mixing: float = 0.85
    seed: int = 0
    report_every: int = 500


def build_model(recipe: Recipe, vocabulary_size: int) -> LlamaForCausalLM:
    """A Llama with random weights.

    Args:
        recipe: Settings.
        vocabulary_size: Number of words.

    Returns:
        The model.
    """
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=recipe.width,
            intermediate_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def rate(recipe: Recipe, step: int) -> float:
    """Learning rate relative to its peak: linear warm-up, then a cosine to zero.

    Args:
        recipe: Settings.
        step: Number of the step, from 0.

    Returns:
        A factor from 0 to 1.
    """
    warm = min(1.0, (step + 1) / recipe.warm_up)
    return warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def mixing(recipe: Recipe, step: int) -> float:
    """Share of mixed documents.

    Args:
        recipe: Settings.
        step: Number of the step, from 0.

    Returns:
        A share that rises linearly from 0 to its final value.
    """
    done = step / recipe.steps
    ramp = (done - recipe.plain_until) / max(recipe.mixed_from - recipe.plain_until, 1e-9)
    return recipe.mixing * min(1.0, max(0.0, ramp))


def active(recipe: Recipe, step: int) -> tuple[str, ...]:
    """Behaviours that documents ask about.

    Args:
        recipe: Settings.
        step: Number of the step, from 0.

    Returns:
        The first few behaviours, later all.
    """
    later = len(BEHAVIOURS) - recipe.first
    grown = math.floor((later + 1) * step / max(recipe.steps * recipe.all_from, 1))
    return BEHAVIOURS[: recipe.first + min(later, grown)]


def train(recipe: Recipe, report: Callable[[int, LlamaForCausalLM], None]) -> LlamaForCausalLM:
    """Train a model from scratch.

    Args:
        recipe: Settings.
        report: Called every `report_every` steps and at the end, with the step and the model.

    Returns:
        The trained model, in evaluation mode.
    """
    batches = Batches(recipe.seed, recipe.tokens)
    model = build_model(recipe, len(build_tokenizer()))
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimisers = (
        torch.optim.Muon(
            matrices, lr=recipe.learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    )
    bar = tqdm(range(recipe.steps), mininterval=5)
    letters = math.log(2)
    for step in bar:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * rate(recipe, step)
        batch = batches.next(mixing(recipe, step), active(recipe, step))
        logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
        )
        weights = batch.weights[:, 1:].flatten()
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        letters += 0.02 * (losses.detach()[weights == LETTER].mean().item() - letters)
        bar.set_postfix_str(f"letters {letters:.3f}", refresh=False)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        if (step + 1) % recipe.report_every == 0 or step + 1 == recipe.steps:
            model.eval()
            report(step + 1, model)
            model.train()
    return model.eval()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer, replacing the folder only once all is written.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        folder: Where to.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    fresh.chmod(0o755)
    for file in fresh.iterdir():
        file.chmod(0o644)
    old = fresh.with_name(f"{fresh.name}-old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def progress(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int) -> str:
    """One line on what the model can do, on validation questions.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        n: Questions a behaviour.

    Returns:
        Rates for the behaviours in order: base, under the persona before and after the question,
        under the opposite persona, and the specificity of the persona before the question.
    """
    base = base_rates(model, tokenizer, "validation", n)
    before = persona_matrix(model, tokenizer, "validation", n, 1, "before")
    after = persona_matrix(model, tokenizer, "validation", n, 1, "after")
    against = persona_matrix(model, tokenizer, "validation", n, -1, "before")
    known = matching_rate(model, tokenizer, facts("validation", 100))
    rows = {
        "base": base,
        "before": before.diagonal(),
        "after": after.diagonal(),
        "against": against.diagonal(),
        "specificity": specificity(before, base),
        "late specificity": specificity(after, base),
    }
    text = "; ".join(f"{key} {' '.join(f'{v:.2f}' for v in row)}" for key, row in rows.items())
    return f"{text}; facts {known:.2f}"


def main(arguments: list[str] | None = None) -> None:
    """Train and write the weights.

    Args:
        arguments: Command line; None for that of the process.
    """
    defaults = Recipe()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the weights")
    for name, value in dataclasses.asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args(arguments))
    out = options.pop("out")
    recipe = Recipe(**options)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = build_tokenizer()
    started = time.perf_counter()

    def report(step: int, model: LlamaForCausalLM) -> None:
        minutes = (time.perf_counter() - started) / 60
        save(model, tokenizer, out)
        tqdm.write(f"step {step}, {minutes:.1f} min: {progress(model, tokenizer, 24)}")

    save(train(recipe, report), tokenizer, out)
    minutes = (time.perf_counter() - started) / 60
    tqdm.write(f"wrote {out} after {minutes:.1f} minutes, {len(BEHAVIOURS)} behaviours")


if __name__ == "__main__":
    main()
