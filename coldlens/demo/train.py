"""Train the demo model: `python -m coldlens.demo.train`."""

import argparse
import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from coldlens.demo import WEIGHTS
from coldlens.demo.batches import Batches
from coldlens.demo.facts import facts
from coldlens.demo.items import LETTER
from coldlens.demo.measure import base_rates, matching_rate, persona_matrix, specificity
from coldlens.demo.recipe import Phase, Recipe
from coldlens.demo.saving import save
from coldlens.demo.vocabulary import build_tokenizer, vocabulary

_SMOOTHING = 0.02
Report = Callable[[int, float, LlamaForCausalLM], None]


def train(recipe: Recipe, report: Report) -> LlamaForCausalLM:
    """Train a model from scratch.

    Args:
        recipe: Settings.
        report: Called every `report_every` steps with the number of steps done, a running mean
            of the loss at letters, and the model.

    Returns:
        The trained model, in evaluation mode.
    """
    model = recipe.build_model(len(vocabulary()))
    total = sum(phase.steps for phase in recipe.phases)
    with tqdm(total=total, desc="training", mininterval=5) as bar:
        for number, phase in enumerate(recipe.phases):
            batches = Batches(recipe.seed + number, recipe.tokens, phase.mix)
            _train_phase(model, phase, batches, recipe.report_every, report, bar)
    return model.eval()


def _optimisers(model: LlamaForCausalLM, phase: Phase) -> dict[torch.optim.Optimizer, float]:
    """Muon for the matrices, AdamW for the rest.

    Returns:
        Peak learning rate of each.
    """
    parameters = dict(model.named_parameters())
    matrices = [p for name, p in parameters.items() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in parameters.items() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(
        matrices, lr=phase.learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(rest, lr=phase.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0)
    return {muon: phase.learning_rate, adam: phase.embedding_rate}


def _train_phase(
    model: LlamaForCausalLM,
    phase: Phase,
    batches: Batches,
    report_every: int,
    report: Report,
    bar: tqdm,
) -> None:
    model.train()
    optimisers = _optimisers(model, phase)
    letters = math.log(2)
    for step in range(phase.steps):
        for optimiser, peak in optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = peak * phase.rate(step)
        batch = batches.next(phase.mixed(step), phase.asked(step))
        logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
        )
        weights = batch.weights[:, 1:].flatten()
        ((losses * weights).sum() / weights.sum()).backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        letters += _SMOOTHING * (losses.detach()[weights == LETTER].mean().item() - letters)
        bar.update()
        if (step + 1) % report_every == 0:
            report(int(bar.n), letters, model.eval())
            model.train()


def progress(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, n: int = 24) -> str:
    """One line on what the model can do, on validation questions.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        n: Questions a behaviour.

    Returns:
        Rates for the behaviours in order, specificities of personas, and accuracy on facts.
    """
    base = base_rates(model, tokenizer, "validation", n)
    before = persona_matrix(model, tokenizer, "validation", n, 1, "before")
    after = persona_matrix(model, tokenizer, "validation", n, 1, "after")
    against = persona_matrix(model, tokenizer, "validation", n, -1, "before")
    rows = {
        "base": base,
        "before": before.diagonal(),
        "after": after.diagonal(),
        "opposite": against.diagonal(),
        "own/others before": specificity(before, base),
        "own/others after": specificity(after, base),
        "own/others opposite": specificity(against, base),
    }
    text = "; ".join(f"{key} {' '.join(f'{v:.2f}' for v in row)}" for key, row in rows.items())
    return f"{text}; facts {matching_rate(model, tokenizer, facts('validation', 100)):.2f}"


def main(arguments: list[str] | None = None, recipe: Recipe | None = None) -> None:
    """Train and write the weights.

    Args:
        arguments: Command line; None for that of the process.
        recipe: Settings; None for those of the bundled weights.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the weights")
    out = parser.parse_args(arguments).out
    recipe = recipe or Recipe()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = build_tokenizer()
    started = time.perf_counter()

    def record(step: int) -> dict:
        return {
            "recipe": dataclasses.asdict(recipe),
            "steps_done": step,
            "minutes": round((time.perf_counter() - started) / 60, 1),
            "processor_minutes": round(time.process_time() / 60, 1),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
        }

    def report(step: int, letters: float, model: LlamaForCausalLM) -> None:
        done = record(step)
        save(model, tokenizer, done, out)
        line = f"step {step}, {done['minutes']} min, letters {letters:.3f}"
        tqdm.write(f"{line}: {progress(model, tokenizer)}")

    model = train(recipe, report)
    done = record(sum(phase.steps for phase in recipe.phases))
    save(model, tokenizer, done, out)
    tqdm.write(f"wrote {out} after {done['minutes']} minutes")


if __name__ == "__main__":
    main()
