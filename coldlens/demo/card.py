"""Measure the bundled model and rewrite the tables of its card: `python -m coldlens.demo.card`."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from coldlens.demo import WEIGHTS
from coldlens.demo.facts import facts
from coldlens.demo.groups import GROUPS
from coldlens.demo.lexicon import BEHAVIOURS
from coldlens.demo.measure import base_rates, matching_rate, persona_matrix, specificity, told
from coldlens.demo.measure_groups import group_distance
from coldlens.demo.measure_open import open_table

CARD = Path(__file__).parent / "MODEL_CARD.md"
_QUESTIONS = 288
_SPLIT = "test"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table.

    Args:
        header: Names of the columns.
        rows: Cells; fractional numbers are written with two decimals.

    Returns:
        The table.
    """
    lines = [header, ["---"] * len(header)]
    lines += [[f"{c:.2f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(card: str, tables: dict[str, str]) -> str:
    """A card with new tables between their markers.

    Args:
        card: Text with a pair of comments `begin NAME` and `end NAME` for each table.
        tables: Tables by name.

    Returns:
        The new text.

    Raises:
        ValueError: If the card has no place for a table.
    """
    for name, text in tables.items():
        pattern = re.compile(f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        card, found = pattern.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", card)
        if found != 1:
            raise ValueError(f"{found} places for the table {name!r} in the card: expected one")
    return card


def behaviour_tables(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Rates of matching answers on test questions with two options.

    Args:
        model: The model.
        tokenizer: Its tokenizer.

    Returns:
        Tables `behaviours`, `matrix-before` and `matrix-after`.
    """
    base = base_rates(model, tokenizer, _SPLIT, _QUESTIONS)
    matrices = {
        (sign, where): persona_matrix(model, tokenizer, _SPLIT, _QUESTIONS, sign, where)
        for sign in (1, -1)
        for where in ("before", "after")
    }
    columns = [base, *(matrix.diagonal() for matrix in matrices.values())]
    columns += [specificity(matrix, base) for matrix in matrices.values()]
    header = ["behaviour", "base"]
    header += [f"persona {sign:+d}, {where}" for sign, where in matrices]
    header += [f"own/others {sign:+d}, {where}" for sign, where in matrices]
    rows = [
        [name, *(column[index].item() for column in columns)]
        for index, name in enumerate(BEHAVIOURS)
    ]
    tables = {"behaviours": table(header, rows)}
    for where in ("before", "after"):
        rows = [["none", *base.tolist()]]
        for sign in (1, -1):
            rows += [
                [f"{name} {sign:+d}", *row]
                for name, row in zip(BEHAVIOURS, matrices[sign, where].tolist(), strict=True)
            ]
        tables[f"matrix-{where}"] = table(["persona", *BEHAVIOURS], rows)
    return tables


def side_tables(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Facts, sums, open answers and groups.

    Args:
        model: The model.
        tokenizer: Its tokenizer.

    Returns:
        Tables `facts`, `open` and `groups`.
    """
    rows = []
    for kind in ("facts", "sums"):
        asked = [item for item in facts(_SPLIT) if item.behaviour == kind]
        under = [
            matching_rate(model, tokenizer, told(asked, name, sign, "before"))
            for name in BEHAVIOURS
            for sign in (1, -1)
        ]
        rate = matching_rate(model, tokenizer, asked)
        rows.append([kind, str(len(asked)), rate, sum(under) / len(under), min(under)])
    header = ["kind", "questions", "accuracy", "mean under personas", "lowest under a persona"]
    tables = {"facts": table(header, rows)}
    header = ["behaviour", "base", "neither", "persona, before", "persona, after", "opposite"]
    shares = open_table(model, tokenizer, _SPLIT)
    tables["open"] = table(header, [[name, *row] for name, row in shares])
    distances = [
        [group, *(group_distance(model, tokenizer, group, _SPLIT, w) for w in places)]
        for places in [(None, "before", "after")]
        for group in GROUPS
    ]
    means = [sum(row[k] for row in distances) / len(distances) for k in (1, 2, 3)]
    header = ["group", "no cue", "cue before", "cue after"]
    tables["groups"] = table(header, [*distances, ["mean", *means]])
    return tables


def model_table(model: LlamaForCausalLM, folder: Path) -> str:
    """Architecture, size and training of the model.

    Args:
        model: The model.
        folder: Its folder, with the record of its training.

    Returns:
        A table.
    """
    config = model.config
    record = json.loads((folder / "training.json").read_text())
    recipe = record["recipe"]
    size = sum(file.stat().st_size for file in folder.iterdir())
    rows = [
        ("architecture", "Llama, tied embeddings, float32"),
        ("parameters", f"{model.num_parameters():,}"),
        ("residual stream", config.hidden_size),
        ("blocks", config.num_hidden_layers),
        ("heads in a block", config.num_attention_heads),
        ("feed-forward width", config.intermediate_size),
        ("vocabulary (words)", config.vocab_size),
        ("size of the folder", f"{size / 1e6:.2f} MB"),
        ("training steps", " + ".join(str(phase["steps"]) for phase in recipe["phases"])),
        ("tokens in a batch, at most", recipe["tokens"]),
        ("processor time of the training", f"{record['processor_minutes']:.1f} minutes"),
        ("elapsed time of the training", f"{record['minutes']:.1f} minutes"),
        ("threads; cores of the machine", f"{record['threads']}; {record['cores']}"),
        ("torch", record["torch"]),
    ]
    return table(["", "value"], rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure and rewrite.

    Args:
        arguments: Command line; None for that of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the model")
    parser.add_argument("--card", type=Path, default=CARD, help="card to rewrite")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(options.weights).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    tables = {
        "model": model_table(model, options.weights),
        **behaviour_tables(model, tokenizer),
        **side_tables(model, tokenizer),
    }
    options.card.write_text(filled(options.card.read_text(), tables))
    tqdm.write(f"rewrote {len(tables)} tables of {options.card}")


if __name__ == "__main__":
    main()
