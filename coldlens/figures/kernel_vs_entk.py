"""The identity kernel of COLD-Kernel against the empirical NTK, layer by layer."""

from dataclasses import dataclass
from typing import ClassVar

from transformer_lens.model_bridge import TransformerBridge

from coldlens.agreement.agreement import kernel_agreement
from coldlens.examples.example import ExampleSet
from coldlens.figures.analysis import ModelAnalysis
from coldlens.figures.drawings import kernel_vs_entk
from coldlens.figures.record import Tables


@dataclass(frozen=True)
class KernelVsEntk(ModelAnalysis):
    """Measure how far kernel blocks are from the identity, and what replacing them costs."""

    drawing = kernel_vs_entk.DRAWING
    QUICK: ClassVar = {"n": 3}

    def measured(self, model: TransformerBridge, examples: ExampleSet) -> Tables:
        """Returns the tables of `kernel_agreement`: pairs, ladder and layers."""
        found = kernel_agreement(model, self.drawn(examples), seed=self.seed)
        return {"pairs": found.table, "ladder": found.ladder, "layers": found.by_layer}
