"""`sweep`: all methods at all layers, etas, sizes and seeds, on one pass over the examples each."""

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from transformer_lens.model_bridge import TransformerBridge

from coldlens.checks import above_zero, at_least, one_of, several
from coldlens.errors import ArgumentError
from coldlens.evaluation.metrics import Metric
from coldlens.examples.example import Example, ExampleSet
from coldlens.examples.positions import Positions, check_positions
from coldlens.losses import Loss
from coldlens.models.guards import Layers, require_decoder, require_eval, resolve_layers
from coldlens.models.load import load_model
from coldlens.sweep import storage
from coldlens.sweep.bank import Grid
from coldlens.sweep.methods import PAPER, Compared
from coldlens.sweep.parallel import Backend, Workers
from coldlens.sweep.plan import make_plan
from coldlens.sweep.result import SweepResult
from coldlens.sweep.run import run
from coldlens.sweep.splits import Splits, load_splits


@torch.inference_mode(False)
def sweep(
    model: str | Path | TransformerBridge,
    splits: Mapping[str, Splits] | Sequence[str],
    methods: Sequence[str | Compared] | None = None,
    layers: Layers = None,
    etas: Sequence[float | int] = (0.1, 0.3, 1.0, 3.0),
    sizes: Sequence[int] = (50,),
    seeds: Sequence[int] = (0,),
    *,
    losses: Mapping[str, Loss] | None = None,
    capability: ExampleSet | Iterable[Example] | None = None,
    positions: Positions = "prompt",
    scale: Literal["relative", "raw"] = "relative",
    metrics: Sequence[str | Metric] | None = None,
    folder: str | Path | None = None,
    jobs: int = 1,
    backend: Backend = "local",
    scheduler: str | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> SweepResult:
    """Fits and measures every method at every layer, eta, size and seed.

    A unit of work is a draw of examples of one behaviour under one loss. Its methods share one
    pass over the examples; a method is fitted once for all layers and etas; its displacements of
    a question are computed once for all layers; and each layer and eta goes on from the unsteered
    residual stream. Each method of each unit is written to the folder when it is done: the same
    call with the same folder goes on where an interrupted one ended. The numbers do not depend on
    `jobs`, `backend` or interruptions: every unit computes with one thread.

    Args:
        model: A name or folder, as in `load_model`; or a bridge, for `jobs=1` on this machine.
        splits: The data by behaviour, or names as in `load_splits`.
        methods: Names (those of `METHODS`, and `"InContext"`) and instances; None for `PAPER`.
            A method that needs negatives is left out where there are none. The unsteered model is
            always measured, as method `"base"`.
        layers: 0-based blocks; None for all.
        etas: The step sizes.
        sizes: How many examples are drawn for training.
        seeds: Seeds of the draws, and of every method given by name that has one.
        losses: The losses of methods that name none, by the name of the setting, such as
            `{"paired": DPO(), "positive-only": CrossEntropy()}`; None for the default loss of
            each behaviour. A method that depends on no loss runs in the first setting alone.
        capability: Unrelated questions with answers of one token: how many are answered rightly,
            and how far the next token moves (KL). The first half is for the choice of layer and
            eta, the second for the report.
        positions: Where the model is steered, as in `Steering.apply`.
        scale: `"relative"`: η is chosen for each method and layer so that the mean length of the
            displacement at the last prompt token of the training prompts is that many times the
            mean norm of the residual stream there; `"raw"`: η is the number itself, as in the
            paper, which means another strength for every method.
        metrics: As in `evaluate`, for the questions of the behaviours; None for those that fit.
        folder: Where the results go; None for a temporary folder that the result keeps alive.
        jobs: Processes on this machine, each with a model of its own.
        backend: `"local"`, or `"dask"` for the workers of a scheduler; they must reach `folder`.
        scheduler: Address of the scheduler, such as `"tcp://127.0.0.1:8786"`.
        batch_size: Questions a batch; it changes memory and speed, and rounding.
        progress: Show a progress bar.

    Returns:
        The result.

    Raises:
        ArgumentError: If an argument is out of range, or a bridge is to be used by several
            processes.
    """
    at_least(1, "jobs", jobs)
    alone = jobs == 1 and backend == "local"
    if isinstance(model, TransformerBridge) and not alone:
        raise ArgumentError(
            expected="the name or folder of a model for several processes, which load their own",
            found=f"a TransformerBridge with jobs = {jobs}, backend = {backend!r}",
            fix="Save it with save_pretrained and pass the folder, or use jobs=1",
        )
    one_of("scale", scale, ("relative", "raw"))
    one_of("backend", backend, ("local", "dask"))
    for name, numbers in (("etas", etas), ("sizes", sizes), ("seeds", seeds)):
        _check_distinct(name, numbers)
    at_least(1, "batch_size", batch_size)
    for eta in etas:
        above_zero("etas", eta)
    for size in sizes:
        at_least(1, "sizes", size)
    for seed in seeds:
        at_least(0, "seeds", seed)
    if metrics is not None:
        several("metrics", metrics, "names and instances")
    if methods is not None:
        several("methods", methods, "names and instances")
    if losses is not None and not (isinstance(losses, Mapping) and losses):
        raise ArgumentError(
            expected="losses by the name of their setting, at least one",
            found=repr(losses),
            fix='Pass losses={"paired": DPO()}',
        )
    if not isinstance(splits, Mapping):
        several("splits", splits, "names of data sets")
    check_positions(positions, generating=True)
    bridge = load_model(model)
    require_decoder(bridge)
    require_eval(bridge)
    plan = make_plan(
        bridge,
        splits if isinstance(splits, Mapping) else {name: load_splits(name) for name in splits},
        list(PAPER if methods is None else methods),
        Grid(
            resolve_layers(bridge, layers),
            tuple(float(eta) for eta in etas),
            scale,
            positions,
            None if metrics is None else tuple(metrics),
            batch_size,
        ),
        losses=losses,
        sizes=[int(size) for size in sizes],
        seeds=[int(seed) for seed in seeds],
        capability=None if capability is None else ExampleSet.of(capability),
    )
    with Workers(jobs, backend, scheduler) as workers, _place(folder) as target:
        storage.begin(target, plan.about)
        run(workers, plan, bridge if alone else str(model), target, progress=progress)
        result = SweepResult.load(target)
    if folder is None:
        weakref.finalize(result, shutil.rmtree, target, ignore_errors=True)
    return result


@contextmanager
def _place(folder: str | Path | None) -> Iterator[Path]:
    """Yields the folder of a sweep; by default a temporary one, gone after an exception."""
    target = Path(tempfile.mkdtemp(prefix="coldlens-sweep-") if folder is None else folder)
    try:
        yield target.resolve()
    except BaseException:
        if folder is None:
            shutil.rmtree(target, ignore_errors=True)
        raise


def _check_distinct(name: str, numbers: Sequence[float | int]) -> None:
    several(name, numbers, "numbers")
    found = list(numbers)
    if not found or len(set(found)) < len(found):
        raise ArgumentError(
            expected=f"at least one value in {name}, and each once",
            found=repr(found),
            fix=f"Write each value of {name} once",
        )
