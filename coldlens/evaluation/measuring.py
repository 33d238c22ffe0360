"""What all metrics read of questions, and give on a batch of them."""

from collections.abc import Iterable, Sequence

from coldlens.evaluation.columns import Columns, checked, require_names
from coldlens.evaluation.metrics import Metric
from coldlens.evaluation.questions import Reading
from coldlens.examples.batch import BOTH, Side
from coldlens.examples.tokens import Encoded


def cut(encoded: Sequence[Encoded], batch_size: int) -> Iterable[list[int]]:
    """Cuts questions into batches of similar length.

    Args:
        encoded: The questions' tokens.
        batch_size: Questions a batch.

    Returns:
        The places of the questions of each batch.
    """
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index].sequence("positive")))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def sides_read(metrics: Sequence[Metric]) -> tuple[Side, ...]:
    """Returns the completions that some metric reads."""
    wanted = {side for metric in metrics for side in metric.sides}
    return tuple(side for side in BOTH if side in wanted)


def measured(metrics: Sequence[Metric], reading: Reading, unsteered: Reading) -> Columns:
    """Returns what all metrics measure on a batch, by column."""
    found: Columns = {}
    for metric in metrics:
        given = checked(metric, metric.measure(reading, unsteered), len(reading.encoded))
        require_names(metric, given, found)
        found |= given
    return found
