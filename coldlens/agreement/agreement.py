"""`kernel_agreement`: how far the identity kernel is from the full empirical NTK."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.agreement.ladder import at_last_token, compared, rungs
from coldlens.agreement.report import KernelAgreement
from coldlens.agreement.shares import position_shares
from coldlens.agreement.spectrum import (
    effective_rank,
    eigenvalue_shares,
    first_singular_share,
    identity_fit,
)
from coldlens.capture import Needs, collect
from coldlens.capture.token_gradients import TokenGradients, token_gradients
from coldlens.examples.batch import Side
from coldlens.examples.example import Example, ExampleSet, Text
from coldlens.examples.tokens import Encoded, Ids, encode, encode_prompts
from coldlens.kernels.ntk import Algorithm, EmpiricalNTK
from coldlens.losses import Loss, default_loss, loss_name, reads_residual, sides_of
from coldlens.models.guards import (
    Layers,
    require_decoder,
    require_eager,
    require_eval,
    require_raw,
    resolve_layers,
    working_dtype,
)
from coldlens.models.parameters import parameters
from coldlens.steering.provenance import provenance
from coldlens.vectors import coherence
from coldlens.words import counted

logger = logging.getLogger(__name__)

WHAT = "kernel_agreement"
QUERIES = 5
"""How many prompts of the examples are queries, unless told otherwise."""


@torch.inference_mode(False)
def kernel_agreement(
    model: TransformerBridge,
    examples: ExampleSet | Iterable[Example],
    layers: Layers = None,
    queries: Sequence[Text] | None = None,
    *,
    loss: Loss | None = None,
    method: Algorithm = "structured",
    probes: int = 32,
    seed: int = 0,
    batch_size: int = 8,
    progress: bool = False,
) -> KernelAgreement:
    """Measures how well K(x, x′) = κ I, the assumption of COLD-Kernel, holds for a model.

    Blocks of the empirical NTK between each query and each example, both at their last prompt
    token, are compared with multiples of the identity. The displacement that one gradient step
    would cause at the queries is compared with its approximations by kernels, from the sum over
    all tokens down to COLD-Kernel; see `KernelAgreement` for the figures.

    Args:
        model: The model, in evaluation mode, raw and with eager attention; nothing of it is
            changed.
        examples: 10 to 50 examples of the behaviour.
        layers: 0-based blocks; None for all.
        queries: The prompts x, strings or token ids, each read at its last token. By default up
            to five prompts of the examples, evenly spaced; on these the kernel of a prompt with
            itself is among the pairs, so give held-out prompts to see the kernel elsewhere.
        loss: The loss; None for DPO on paired data, cross-entropy on positive-only data. For a
            loss of the residual stream the exact displacement is the kernel sum itself.
        method: How the blocks are computed; see `EmpiricalNTK`. With `"sketched"` the figures of
            the pairs are estimates and spectra are left out; all rungs but `scalar` and
            `constant`, which rest on estimated traces, stay exact.
        probes: Random directions of a sketch.
        seed: Seed of these.
        batch_size: Examples a batch for the parameter gradient; results do not depend on it.
        progress: Show progress bars.

    Returns:
        The report.
    """
    chosen = ExampleSet.of(examples)
    require_decoder(model)
    require_eval(model)
    require_raw(model, WHAT)
    require_eager(model, WHAT)
    depths = resolve_layers(model, layers)
    goal = loss or default_loss(chosen)
    sides = sides_of(goal, chosen)
    encoded = encode(model, chosen)
    asked = _spaced(encoded) if queries is None else encode_prompts(model, queries, chosen.policy)
    known = ExampleSet(tuple(Example(e.prompt, e.positive, e.negative) for e in encoded))
    kernel = EmpiricalNTK(
        model,
        asked,
        known,
        depths,
        method=method,
        positions="last_prompt",
        probes=probes,
        seed=seed,
        progress=progress,
    )
    cost = _cost(model, encoded, sides, depths, kernel)
    logger.info("%s", cost)

    gradients = [
        token_gradients(model, example, goal, depths, sides=sides)
        for example in tqdm(encoded, desc="gradients", disable=not progress)
    ]
    exact = None
    if not reads_residual(goal):
        needs = Needs(parameter_gradients=frozenset({goal}))
        found = collect(model, chosen, depths, needs, batch_size=batch_size, encoded=encoded)
        exact = at_last_token(model, found.parameter_gradients[goal], asked, depths)
    task = _Task(model, kernel, gradients, asked, [example.prompt for example in encoded])
    findings = [
        task.at(layer, None if exact is None else exact[place])
        for place, layer in enumerate(tqdm(depths, desc="layers", disable=not progress))
    ]
    tables = {
        name: pd.concat([found[name] for found in findings], ignore_index=True)
        for name in findings[0]
    }
    record = provenance(
        model,
        chosen,
        method=WHAT,
        settings=f"method={method!r}, probes={probes}, seed={seed}"
        if method == "sketched"
        else f"method={method!r}",
        formula=1,
        scale="not applicable",
        loss=loss_name(goal),
        positions="last_prompt",
        seed=seed if method == "sketched" else None,
    )
    about = {
        **record.as_dict(),
        "layers": list(depths),
        "queries": len(asked),
        "queries_from": "prompts of the examples" if queries is None else "given",
        "exact": "the kernel sum" if exact is None else "ColdJVP",
        "tied_embedding": any(len(found.slots) > 1 for found in parameters(model).values()),
        "cost": cost,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    token_ids = {
        "examples": [[list(e.prompt), list(e.positive), _listed(e.negative)] for e in encoded],
        "queries": [list(ids) for ids in asked],
    }
    return KernelAgreement(**tables, token_ids=token_ids, about=about)


@dataclass(frozen=True)
class _Task:
    """What all layers share."""

    model: TransformerBridge
    kernel: EmpiricalNTK
    gradients: list[TokenGradients]
    queries: list[Ids]
    prompts: list[Ids]

    def at(self, layer: int, exact: Float[Tensor, "query d"] | None) -> dict[str, pd.DataFrame]:
        """Returns the rows of one layer, by table."""
        if self.kernel.method == "sketched":
            fit, spectra = self.kernel.sketch(layer).identity_fit(), None
        else:
            fit = identity_fit(self.kernel.blocks(layer))
            spectra = eigenvalue_shares(self.kernel.query_blocks(layer))
        found = rungs(self.model, layer, self.gradients, self.queries, fit["scale"])
        ladder = compared(found, found["full"] if exact is None else exact)
        positions = position_shares(self.model, layer, self.gradients, self.queries, found["full"])
        tables = {
            "table": self._pairs(fit),
            "ladder": ladder,
            "by_layer": self._summary(layer, fit["scale"], spectra),
            "spectra": _spectra(spectra),
            "positions": positions,
        }
        for table in tables.values():
            table.insert(0, "layer", layer)
        return tables

    def _pairs(self, fit: dict[str, Float[Tensor, "query example"]]) -> pd.DataFrame:
        pairs = [(q, e) for q in range(len(self.queries)) for e in range(len(self.prompts))]
        columns = {name: values.flatten().double().cpu().numpy() for name, values in fit.items()}
        same = [self.queries[q] == self.prompts[e] for q, e in pairs]
        return pd.DataFrame(pairs, columns=["query", "example"]).assign(same_prompt=same, **columns)

    def _summary(
        self,
        layer: int,
        scales: Float[Tensor, "query example"],
        shares: Float[Tensor, "query d"] | None,
    ) -> pd.DataFrame:
        ends = torch.stack([found.at_last_prompt(layer) for found in self.gradients])
        unknown = torch.tensor(torch.nan)
        figures = {
            "effective_rank": unknown if shares is None else effective_rank(shares).mean(),
            "top_eigenvalue_share": unknown if shares is None else shares[:, 0].mean(),
            "scale_variation": scales.std(correction=0) / scales.mean(),
            "coherence": coherence(ends.unsqueeze(0))[0],
        }
        row = {name: value.item() for name, value in figures.items()}
        return pd.DataFrame([{**row, "first_singular_share": first_singular_share(ends)}])


def _spaced(encoded: Sequence[Encoded]) -> list[Ids]:
    """Returns up to five different prompts, evenly spaced."""
    prompts = list(dict.fromkeys(example.prompt for example in encoded))
    count = min(QUERIES, len(prompts))
    return [prompts[place * len(prompts) // count] for place in range(count)]


def _spectra(shares: Float[Tensor, "query d"] | None) -> pd.DataFrame:
    if shares is None:
        return pd.DataFrame(columns=["query", "rank", "eigenvalue_share"])
    queries, width = shares.shape
    pairs = [(query, rank) for query in range(queries) for rank in range(1, width + 1)]
    values = shares.flatten().double().cpu().numpy()
    return pd.DataFrame(pairs, columns=["query", "rank"]).assign(eigenvalue_share=values)


def _listed(ids: Ids | None) -> list[int] | None:
    return None if ids is None else list(ids)


def _cost(
    model: TransformerBridge,
    encoded: Sequence[Encoded],
    sides: tuple[Side, ...],
    layers: tuple[int, ...],
    kernel: EmpiricalNTK,
) -> str:
    """Returns in a sentence what the report will take."""
    lengths = [len(example.sequence(side)) for example in encoded for side in sides]
    queries = len(kernel.queries)
    blocks = queries * (len(encoded) + (kernel.method != "sketched"))
    gradients = sum(lengths) * model.cfg.d_model * len(layers) * working_dtype(model).itemsize
    return (
        f"{counted(len(encoded), 'example')} ({counted(len(lengths), 'sequence')}, "
        f"{counted(sum(lengths), 'token')}) {2 + 2 * len(layers)} times forward and backward, "
        f"and {queries * len(layers)} times dual forward, at the price of 4 forwards each; "
        f"{gradients / 2**20:,.1f} MiB of gradients; "
        f"{len(layers)} x {blocks} kernel blocks: {kernel.estimate()}"
    )
