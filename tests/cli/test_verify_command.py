"""`coldlens verify` as a user types it."""

import pandas as pd

from coldlens.cli.verify import _text
from coldlens.equivalence.report import TYPES, Equivalences

CLAIM = {"check": "E1", "case": "claim", "layer": 0, "claim": "is the same", "holds": True}
COUNTER = {**CLAIM, "case": "counter", "holds": False, "detail": "without negatives"}
ABSENT = {"check": "E2", "case": "not applicable", "claim": "needs pairs", "detail": "no pairs"}


def test_a_check_that_does_not_apply_has_no_line_among_the_counter_cases():
    table = pd.DataFrame([CLAIM | {"detail": ""}, COUNTER, ABSENT], columns=list(TYPES))
    about = {"examples_name": "words", "model_id": "tiny"}
    text = _text(Equivalences(table.astype(TYPES), pd.DataFrame(), about))
    told = text.split("which must fail:\n")[1].split("\n\n")[0]
    assert told == "   E1 without negatives"
    assert "needs pairs" in text
