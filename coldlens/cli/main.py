"""The command line, with the names and defaults of the Python interface."""

import logging
import sys

import tyro

from coldlens.cli.compare import Compare
from coldlens.cli.evaluate import Evaluate
from coldlens.cli.figures import Figures
from coldlens.cli.kernel import Kernel
from coldlens.cli.report import Report
from coldlens.cli.steer import Steer
from coldlens.cli.sweep import Sweep
from coldlens.cli.verify import Verify
from coldlens.errors import ColdlensError

COMMANDS = {
    "compare": Compare,
    "kernel": Kernel,
    "verify": Verify,
    "evaluate": Evaluate,
    "steer": Steer,
    "sweep": Sweep,
    "report": Report,
    "figures": Figures,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments; by default those of the process.

    Returns:
        The exit status: 0, 1 after a check that fails, 2 after an error of the input or of a file,
        or 130 after an interruption.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("coldlens").setLevel(logging.INFO)
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, args=arguments)
    try:
        return command.run()
    except (ColdlensError, OSError) as error:
        sys.stderr.write(f"coldlens: {type(error).__name__}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("coldlens: interrupted; an earlier result is as it was\n")
        return 130
