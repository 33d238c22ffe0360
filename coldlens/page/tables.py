"""Tables as the page holds them: by column, in JSON, without losing a digit."""

import math
from typing import Any

import pandas as pd

Table = dict[str, list[Any]]
"""Values by column: text, numbers, truth values and None; infinities as text."""


def table(frame: pd.DataFrame) -> Table:
    """Turns a table into columns of JSON values.

    Args:
        frame: The table; its index is left out.

    Returns:
        The columns in their order. A missing value is None, an infinite one `"inf"` or `"-inf"`.
    """
    return {str(name): [_value(one) for one in frame[name].tolist()] for name in frame}


def _value(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value
