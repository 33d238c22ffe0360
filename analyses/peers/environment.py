"""The environment of the peers: made once, kept in a folder."""

import logging
import subprocess
import venv
from importlib.metadata import version
from pathlib import Path

from coldlens.errors import ColdlensError

logger = logging.getLogger("coldlens.benchmark")

FOLDER = Path("out/peers")
PEERS = ("steering-vectors==0.12.2", "repeng==0.4.0")


def interpreter(folder: Path = FOLDER) -> Path:
    """Returns the Python that has the peers, after making its environment where there is none.

    It gets the same build of torch as ours, so that the same kernels are compared.

    Args:
        folder: Where the environment is.

    Returns:
        Path of the interpreter.

    Raises:
        ColdlensError: If the packages cannot be installed.
    """
    python, ready = folder / "bin" / "python", folder / "installed.txt"
    wanted = [f"torch=={version('torch')}", *PEERS]
    if ready.exists() and ready.read_text().split() == wanted:
        return python
    logger.info("making an environment in %s: %s", folder, ", ".join(wanted))
    venv.create(folder, clear=True, with_pip=True)
    # torch goes first and alone: with the peers, pip would be free to choose another build.
    for packages in (wanted[:1], wanted[1:]):
        command = [str(python), "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ColdlensError(
                expected=f"{', '.join(packages)} for {python}",
                found=done.stderr.strip().splitlines()[-1],
                fix="Look whether pip reaches an index that has them (name that of a build such as "
                "+cpu in PIP_EXTRA_INDEX_URL), or leave the peers out with --no-peers",
            )
    ready.write_text("\n".join(wanted))
    return python
