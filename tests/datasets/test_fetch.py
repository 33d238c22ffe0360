"""Downloads, from a server on this machine."""

import hashlib
import http.server
import threading
from functools import partial

import pooch
import pytest

from coldlens.datasets import fetch, load_examples
from coldlens.errors import DataError

TEST_FILE = "test/refusal/test_dataset_ab.json"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", folder.joinpath)
    return folder / "coldlens"


@pytest.fixture
def server(small, cache, tmp_path, monkeypatch):
    """Serves the small CAA as upstream does, with its hashes registered."""
    registry = tmp_path / "registry.txt"
    lines = [
        f"{path.relative_to(small.path).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in (small.path / "caa").rglob("*.json")
    ]
    registry.write_text("\n".join(lines) + "\n")
    handler = partial(QuietHandler, directory=small.path / "caa")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setitem(fetch.UPSTREAM, "caa", f"http://127.0.0.1:{listening.server_port}/")
        monkeypatch.setattr(fetch, "REGISTRY", registry)
        yield small.path / "caa"
        listening.shutdown()
        thread.join()


def cached_files(cache):
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


def test_right_files_are_accepted_and_kept(server, cache, small):
    fetched = load_examples("caa/refusal")
    assert fetched == load_examples("caa/refusal", folder=small.path)
    assert cached_files(cache) == [
        "caa/generate/refusal/generate_dataset.json",
        "caa/test/refusal/test_dataset_ab.json",
    ]


def test_test_split_needs_the_test_file_only(server, cache):
    load_examples("caa/refusal", "test")
    assert cached_files(cache) == [f"caa/{TEST_FILE}"]


def test_cached_file_is_not_fetched_again(server):
    first = load_examples("caa/refusal", "test")
    (server / TEST_FILE).unlink()
    assert load_examples("caa/refusal", "test") == first


def test_damaged_cache_is_fetched_again(server, cache):
    first = load_examples("caa/refusal", "test")
    (cache / "caa" / TEST_FILE).write_text("damaged")
    assert load_examples("caa/refusal", "test") == first


def test_corrupted_file_is_refused_and_not_kept(server, cache):
    with (server / TEST_FILE).open("a") as file:
        file.write(" ")
    with pytest.raises(DataError, match=r"SHA-256 [0-9a-f]{64} at .*; found a file with another"):
        load_examples("caa/refusal", "test")
    assert cached_files(cache) == []


def test_absent_file_says_what_to_do_by_hand(server, cache):
    (server / TEST_FILE).unlink()
    with pytest.raises(DataError, match=r"to download http.*; found 404 .*COLDLENS_DATA to it"):
        load_examples("caa/refusal", "test")
    assert cached_files(cache) == []


def test_file_without_a_registered_hash_is_not_downloaded(server, cache):
    with pytest.raises(
        DataError, match=r"SHA-256 of caa/test/myopic-reward/.*found none. Save http"
    ):
        load_examples("caa/myopic-reward")
    assert not cache.exists()


def test_files_of_a_subfolder_are_fetched_from_its_own_address(cache, monkeypatch):
    asked = []

    def retrieve(url, **_):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError, match="no network"):
        load_examples("axbench/0")
    assert asked == [fetch.UPSTREAM["axbench/concept10"] + "metadata.jsonl"]


def test_opinions_are_never_downloaded(server, cache):
    with pytest.raises(
        DataError, match=r"opinions_qa/human_resp/, which coldlens does not download, .*no licence"
    ):
        load_examples("opinions_qa/POLPARTY/Democrat")
    assert not cache.exists()
