"""A process that answers as the peers do, without them."""

import sys

import pytest

FAKE = """
import json, sys

for line in sys.stdin:
    request = json.loads(line)
    if "folder" in request:
        layers = json.loads(open(request["folder"] + "/config.json").read())["num_hidden_layers"]
        answer = {"versions": {"steering-vectors": "0"}}
    elif request["run"] == "wrong":
        answer = {"error": "Traceback\\nValueError: no such peer"}
    elif request["run"] == "gone":
        sys.exit("out of memory")
    else:
        vectors = {layer: [1.0] * 64 for layer in range(layers)}
        answer = {"seconds": 0.5, "peak_mb": 2.0, "found": vectors}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def fake_peers(tmp_path):
    """Returns the command that starts it."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return [sys.executable, script]
