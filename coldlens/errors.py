"""The errors that coldlens raises: each says what was expected, what was found, what to do."""


class ColdlensError(Exception):
    """Base of every error that coldlens raises on purpose.

    Attributes:
        expected: What the call needed.
        found: What it was given.
        fix: What the caller can do about it.
    """

    def __init__(self, *, expected: str, found: str, fix: str) -> None:
        """Builds the message from its three parts.

        Args:
            expected: What the call needed, without a final stop.
            found: What it was given, without a final stop.
            fix: What the caller can do, a sentence without a final stop.
        """
        self.expected, self.found, self.fix = expected, found, fix
        super().__init__(f"Expected {expected}; found {found}. {fix}.")


class ModelError(ColdlensError, ValueError):
    """The model is in a state in which the result would be wrong."""


class ModelTypeError(ColdlensError, TypeError):
    """Something that is not a TransformerBridge where a model is needed."""


class ExampleError(ColdlensError, ValueError):
    """An example, a set of examples or a selection of positions cannot be used."""


class ExampleTypeError(ColdlensError, TypeError):
    """A field of an example has a type that cannot be tokenised."""


class DataError(ColdlensError, ValueError):
    """A data set is unknown, missing or unreadable."""


class ArgumentError(ColdlensError, ValueError):
    """An argument of a call is out of range: a layer, a method, a hyper-parameter."""


class NumericsError(ColdlensError, ValueError):
    """A computation met values that are not finite, or too inexact to conclude from."""


class SteeringError(ColdlensError, ValueError):
    """A steering cannot be loaded, combined or applied, or an intervention did not fire."""
