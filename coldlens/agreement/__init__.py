"""How far the identity kernel is from the empirical NTK, and what each approximation costs."""

from coldlens.agreement.agreement import kernel_agreement
from coldlens.agreement.report import KernelAgreement

__all__ = ["KernelAgreement", "kernel_agreement"]
