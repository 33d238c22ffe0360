"""The older methods as special cases of COLD-Kernel, and the limits of differences and steps."""

from dataclasses import dataclass
from typing import ClassVar

from transformer_lens.model_bridge import TransformerBridge

from coldlens.equivalence.verify import verify_equivalences
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import ModelAnalysis
from coldlens.figures.drawings import unified_perspective
from coldlens.figures.record import Tables


@dataclass(frozen=True)
class UnifiedPerspective(ModelAnalysis):
    """Check every equivalence, each beside a case that must break it."""

    n: int = 8

    drawing = unified_perspective.DRAWING
    QUICK: ClassVar = {"n": 2}

    def measured(self, model: TransformerBridge, examples: ExampleSet) -> Tables:
        """Returns the tables of `verify_equivalences`: checks, and errors by step."""
        found = verify_equivalences(model, examples, n=self.n, seed=self.seed)
        return {"checks": found.table, "curves": found.curves}
