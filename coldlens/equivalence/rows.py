"""One row of the table: what was compared, how close it was, and whether that is as it should."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from coldlens.vectors import cosine

Case = Literal["claim", "counter", "not applicable"]
NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        check: `"E1"` to `"E10"`.
        case: `"claim"`, or `"counter"` for a case in which the equivalence must not hold.
        layer: 0-based block; None where all layers are one vector, or it does not matter.
        claim: The equivalence, in words.
        holds: Whether it held in this case; None where it does not apply.
        cosine: Cosine of the left to the right side.
        relative_error: ‖left − right‖ / ‖right‖.
        scale: ⟨left, right⟩ / ‖right‖²: what to multiply the right side by to fit the left.
        slope: Fitted exponent of an error, where the check is about one.
        tolerance: Largest relative error, or distance of the slope from the claimed one, at which
            it holds.
        detail: What was compared; in a counter-case, what was taken away.
    """

    check: str
    case: Case
    layer: int | None
    claim: str
    holds: bool | None
    cosine: float = NAN
    relative_error: float = NAN
    scale: float = NAN
    slope: float = NAN
    tolerance: float = NAN
    detail: str = ""

    @property
    def verdict(self) -> str:
        """What `holds` means in this case, in words."""
        if self.holds is None:
            return "not applicable"
        if self.case == "claim":
            return "holds" if self.holds else "DOES NOT HOLD"
        return "HOLDS, BUT MUST NOT" if self.holds else "fails, as it must"


@dataclass(frozen=True)
class Check:
    """An equivalence, which makes its rows.

    Attributes:
        name: `"E1"` to `"E10"`.
        claim: The equivalence, in words.
    """

    name: str
    claim: str

    def equal(
        self,
        layer: int | None,
        left: Tensor,
        right: Tensor,
        tolerance: float,
        detail: str,
        case: Case = "claim",
    ) -> Row:
        """Compares two tensors of one shape, each as a single vector.

        Args:
            layer: The layer.
            left: Left side.
            right: Right side.
            tolerance: Largest relative error at which they are equal.
            detail: What they are.
            case: Claim or counter-case.

        Returns:
            The row; it does not hold where a side is not finite, or the right one is zero.
        """
        one, other = left.double().flatten(), right.double().flatten()
        error = ((one - other).norm() / other.norm()).item()
        return Row(
            self.name,
            case,
            layer,
            self.claim,
            error <= tolerance,
            cosine=cosine(one, other).item(),
            relative_error=error,
            scale=((one @ other) / (other @ other)).item(),
            tolerance=tolerance,
            detail=detail,
        )

    def bounded(
        self, layer: int | None, error: float, tolerance: float, detail: str, case: Case = "claim"
    ) -> Row:
        """Compares an error with its bound.

        Args:
            layer: The layer.
            error: The error.
            tolerance: The bound.
            detail: What it is.
            case: Claim or counter-case.

        Returns:
            The row; it does not hold where the error is not a number.
        """
        holds = error <= tolerance
        return Row(
            self.name,
            case,
            layer,
            self.claim,
            holds,
            relative_error=error,
            tolerance=tolerance,
            detail=detail,
        )

    def exponent(
        self,
        layer: int | None,
        slope: float,
        wanted: int,
        tolerance: float,
        detail: str,
        case: Case = "claim",
    ) -> Row:
        """Compares a fitted slope with the claimed one.

        Args:
            layer: The layer.
            slope: The slope, nan where none could be fitted.
            wanted: What it should be.
            tolerance: Largest distance at which it is.
            detail: Of what.
            case: Claim or counter-case.

        Returns:
            The row; it does not hold without a slope.
        """
        holds = abs(slope - wanted) <= tolerance
        return Row(
            self.name,
            case,
            layer,
            self.claim,
            holds,
            slope=slope,
            tolerance=tolerance,
            detail=detail,
        )

    def absent(self, reason: str, layer: int | None = None) -> Row:
        """Returns the row of a check that does not apply: no evidence either way.

        Args:
            reason: Why.
            layer: The layer.
        """
        return Row(self.name, "not applicable", layer, self.claim, None, detail=reason)
