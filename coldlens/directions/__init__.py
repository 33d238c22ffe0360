"""The methods, one file each; `METHODS` names those that `compare_directions` knows."""

from coldlens.directions.cold_fd import ColdFD
from coldlens.directions.cold_jvp import ColdJVP
from coldlens.directions.cold_kernel import ColdKernel
from coldlens.directions.diff_mean import DiffMean
from coldlens.directions.fine_tune import FineTune
from coldlens.directions.icv import ICV
from coldlens.directions.method import Method
from coldlens.directions.probe import Probe
from coldlens.directions.random import Random
from coldlens.directions.rep_e import RepE

METHODS: dict[str, type[Method]] = {
    method.__name__: method
    for method in (DiffMean, RepE, ICV, Probe, ColdKernel, ColdFD, ColdJVP, FineTune, Random)
}

__all__ = [
    "ICV",
    "METHODS",
    "ColdFD",
    "ColdJVP",
    "ColdKernel",
    "DiffMean",
    "FineTune",
    "Method",
    "Probe",
    "Random",
    "RepE",
]
