"""The methods, one file each; `METHODS` names those that `compare_directions` knows."""

from coldlens.directions.bipo import BiPO
from coldlens.directions.cold_fd import ColdFD
from coldlens.directions.cold_jvp import ColdJVP
from coldlens.directions.cold_kernel import ColdKernel
from coldlens.directions.diff_mean import DiffMean
from coldlens.directions.fine_tune import FineTune
from coldlens.directions.icv import ICV
from coldlens.directions.lora import LoRA
from coldlens.directions.method import Method
from coldlens.directions.probe import Probe
from coldlens.directions.random import Random
from coldlens.directions.reft import ReFTMLP, ReFTVector
from coldlens.directions.rep_e import RepE

_ALL: tuple[type[Method], ...] = (
    *(DiffMean, RepE, ICV, Probe, ColdKernel, ColdFD, ColdJVP),
    *(ReFTVector, ReFTMLP, BiPO, FineTune, LoRA, Random),
)
METHODS: dict[str, type[Method]] = {method.__name__: method for method in _ALL}

__all__ = [
    "ICV",
    "METHODS",
    "BiPO",
    "ColdFD",
    "ColdJVP",
    "ColdKernel",
    "DiffMean",
    "FineTune",
    "LoRA",
    "Method",
    "Probe",
    "Random",
    "ReFTMLP",
    "ReFTVector",
    "RepE",
]
