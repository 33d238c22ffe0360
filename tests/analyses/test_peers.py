"""The peers' environment, their process, and the clock that both sides share."""

import subprocess
import sys

import pytest
import torch

from analyses.benchmark.subject import BATCH, Size
from analyses.peers import environment
from analyses.peers.clock import clocked
from analyses.peers.driver import MODULE, Peers
from coldlens.directions import DiffMean
from coldlens.errors import ColdlensError
from coldlens.models.load import load_model

TINY = Size(64, 2, 12, 5)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")


@linux
def test_the_peak_is_what_a_computation_holds():
    def hold(megabytes, block=1_000_000):
        return sum(one.sum() for one in [torch.ones(block // 4) for _ in range(megabytes)])

    hold(300)  # small blocks stay in the heap
    for megabytes in (50, 200, 50):
        run = clocked(lambda megabytes=megabytes: hold(megabytes))
        assert run.peak_mb == pytest.approx(megabytes, rel=0.1)
    assert run.found == 50 * 250_000
    assert run.seconds > 0


def test_a_process_answers(fake_peers, tmp_path):
    TINY.save(tmp_path)
    with Peers(fake_peers) as peers:
        peers.prepare(tmp_path, BATCH)
        assert peers.versions == {"steering-vectors": "0"}
        run = peers.run("steering-vectors")
        assert (run.seconds, run.peak_mb) == (0.5, 2.0)
        assert run.found[1].tolist() == [1.0] * 64
        with pytest.raises(ColdlensError, match="ValueError: no such peer"):
            peers.run("wrong")
        process = peers._process
    assert process.wait(10) == 0


def test_a_process_that_ends_says_why(fake_peers, tmp_path):
    TINY.save(tmp_path)
    with Peers(fake_peers) as peers:
        peers.prepare(tmp_path, BATCH)
        with pytest.raises(ColdlensError, match="out of memory"):
            peers.run("gone")
        with pytest.raises(ColdlensError, match="out of memory"):
            peers.run("gone")


def test_the_environment_is_made_once_with_our_torch(tmp_path, monkeypatch):
    asked = []

    def pip(command, **_):
        asked.append(command[command.index("--quiet") + 1 :])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(environment.venv, "create", lambda folder, **_: folder.mkdir())
    monkeypatch.setattr(environment.subprocess, "run", pip)
    folder = tmp_path / "peers"
    assert environment.interpreter(folder) == folder / "bin" / "python"
    assert asked == [[f"torch=={torch.__version__}"], list(environment.PEERS)]
    environment.interpreter(folder)
    assert len(asked) == 2


def test_packages_that_cannot_be_installed(tmp_path, monkeypatch):
    def pip(command, **_):
        return subprocess.CompletedProcess(command, 1, stderr="trying\nERROR: no network\n")

    monkeypatch.setattr(environment.venv, "create", lambda folder, **_: folder.mkdir())
    monkeypatch.setattr(environment.subprocess, "run", pip)
    with pytest.raises(ColdlensError, match=r"no network.*--no-peers"):
        environment.interpreter(tmp_path / "peers")
    assert not (tmp_path / "peers" / "installed.txt").exists()


@pytest.mark.slow
def test_steering_vectors_finds_the_same_as_diff_mean(tmp_path):
    if not (environment.FOLDER / "installed.txt").exists():
        pytest.skip("no environment of the peers: python -m analyses.benchmark makes it")
    TINY.save(tmp_path)
    model = load_model(tmp_path, device="cpu")
    ours = DiffMean().fit(model, TINY.pairs())
    with Peers([environment.interpreter(), "-m", MODULE]) as peers:
        peers.prepare(tmp_path, BATCH)
        theirs = peers.run("steering-vectors").found
    assert set(peers.versions) >= {"steering-vectors", "repeng", "transformers"}
    for layer in range(TINY.layers):
        cosine = torch.cosine_similarity(ours.vector(layer), theirs[layer], dim=0)
        assert cosine > 0.9999
