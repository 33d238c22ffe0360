"""Runs the units of a plan, and writes each method when it is done."""

import logging
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from coldlens.errors import DataError
from coldlens.models.parameters import fingerprint
from coldlens.sweep import storage
from coldlens.sweep.bank import Grid
from coldlens.sweep.parallel import Workers, loaded, threads
from coldlens.sweep.plan import Plan, Sets
from coldlens.sweep.unit import Runner, Unit
from coldlens.words import counted

logger = logging.getLogger(__name__)


def run(
    workers: Workers,
    plan: Plan,
    source: str | TransformerBridge,
    folder: Path,
    *,
    progress: bool,
) -> None:
    """Runs what is left of a plan.

    Args:
        workers: Where.
        plan: The plan.
        source: The model, or its name or folder.
        folder: The folder of the sweep.
        progress: Show a progress bar.
    """
    left = [unit for unit in plan.units if unfinished(folder, unit)]
    logger.info("%s", plan.cost(left))
    expected = plan.about["model_fingerprint"]
    tasks = [
        (source, expected, unit, plan.sets[unit.behaviour], plan.grid, folder) for unit in left
    ]
    started, said = time.perf_counter(), False
    done = workers.run(run_unit, tasks)
    for number, fitted in enumerate(
        tqdm(done, total=len(tasks), desc="units", disable=not progress), 1
    ):
        if fitted and not said and number < len(tasks):
            seconds = (time.perf_counter() - started) * (len(tasks) - number) / workers.jobs
            others = counted(len(tasks) - number, "other unit")
            logger.info("about %.0f s for %s", seconds, others)
            said = True


def unfinished(folder: Path, unit: Unit) -> list[str]:
    """Lists the methods of a unit whose file is not there yet.

    Args:
        folder: The folder of the sweep.
        unit: The unit.

    Returns:
        Their labels.
    """
    names = {label: storage.cell_name(unit.key(label)) for label in unit.methods}
    left = storage.missing(folder, list(names.values()))
    return [label for label, name in names.items() if name in left]


@torch.inference_mode(False)
def run_unit(
    source: str | TransformerBridge,
    expected: str,
    unit: Unit,
    sets: Sets,
    grid: Grid,
    folder: Path,
) -> bool:
    """Runs what is left of a unit, and writes each method when it is done.

    Args:
        source: The model, or its name or folder.
        expected: Fingerprint of its weights.
        unit: The unit.
        sets: The questions by split.
        grid: What to measure.
        folder: The folder of the sweep.

    Returns:
        Whether examples were fitted.

    Raises:
        DataError: If this process does not see the folder, or the same model in it.
    """
    if not (folder / storage.MARKER).is_file():
        raise DataError(
            expected=f"the folder of the sweep, {folder}, in reach of every worker",
            found="none there",
            fix="Use a folder on a file system that all workers share",
        )
    model = source if isinstance(source, TransformerBridge) else loaded(source)
    if fingerprint(model) != expected:
        raise DataError(
            expected=f"the same model in every worker, with weights {expected[:12]}",
            found=f"{source} with weights {fingerprint(model)[:12]}",
            fix="Give a folder that all workers share",
        )
    runner = Runner(model, unit, sets, grid)
    labels = unfinished(folder, unit)
    with threads(1):
        for label in labels:
            storage.write_cells(folder, storage.cell_name(unit.key(label)), runner.table(label))
    return unit.train is not None
