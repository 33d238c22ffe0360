"""Saving and loading: bit-exact, checked, and whole or not at all."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import zoo
from safetensors.torch import save_file

from coldlens.directions import ColdFD, ColdJVP, ColdKernel, DiffMean, FineTune, Random
from coldlens.errors import DataError, SteeringError
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.files import FolderKind, whole_file, whole_folder
from coldlens.losses import CrossEntropy
from coldlens.steering import storage
from coldlens.steering.steering import Steering

IDS = torch.tensor([[1, 30, 31, 32], [1, 5, 6, 7]])
METHODS = [
    DiffMean(),
    Random(seed=3),
    ColdKernel(CrossEntropy(), kernel="linear"),
    ColdFD(epsilon=1 / 3),
    ColdFD(scheme="central"),
    ColdJVP(),
    FineTune(lr=0.1),
]


@pytest.fixture
def saved(llama, examples, tmp_path: Path) -> Path:
    path = tmp_path / "steering.safetensors"
    DiffMean().fit(llama, examples).save(path)
    return path


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
def test_round_trip_is_bit_exact(llama, examples, method, tmp_path):
    policy = TokenPolicy(bos="never")
    steering = method.fit(llama, ExampleSet(examples.examples, "mine", "here", policy), [0, 2])
    path = tmp_path / "folder" / "steering.safetensors"
    steering.save(path)
    loaded = Steering.load(path, llama)
    assert type(loaded) is type(steering)
    assert loaded.layers == (0, 2)
    assert (loaded.origin.policy, loaded.prompts) == (policy, steering.prompts)
    assert loaded.provenance == steering.provenance
    assert loaded.settings() == steering.settings()
    assert loaded.tensors().keys() == steering.tensors().keys()
    for name, tensor in steering.tensors().items():
        found = loaded.tensors()[name]
        assert found.dtype == tensor.dtype
        assert torch.equal(found.view(torch.uint8), tensor.contiguous().view(torch.uint8))
    for layer, values in steering.displacement(IDS).items():
        assert torch.equal(loaded.displacement(IDS)[layer], values)
    assert torch.equal(loaded.vector(2), steering.vector(2))


def test_metadata_is_complete(llama, examples, tmp_path):
    path = tmp_path / "a.safetensors"
    ColdKernel(CrossEntropy(), positions="answer").fit(llama, examples).save(path)
    record = storage.read_file(path)[1]["provenance"]
    assert record["method"].startswith("ColdKernel(")
    assert record["loss"] == "CrossEntropy(reduction='mean')"
    assert record["positions"] == "answer"
    assert record["hook"] == "blocks.{layer}.hook_resid_post"
    assert (record["numerics"], record["dtype"]) == ("raw", "float32")
    assert record["examples_count"] == 3
    assert record["examples_hash"] == examples.hash()
    assert record["token_rule"] == repr(examples.policy)
    assert "towards the behaviour" in record["sign"]
    assert record["model_id"] == "tiny-llama"
    assert len(record["model_fingerprint"]) == 32
    assert record["versions"]["torch"] == version("torch")
    assert set(record["versions"]) == {"coldlens", "torch", "transformers", "transformer-lens"}
    assert record["formula"] == 1


def test_another_model_is_refused(saved):
    with pytest.raises(SteeringError, match="model that this steering was fitted on, tiny-llama"):
        Steering.load(saved, zoo.bridge("llama", seed=1))


def test_another_architecture_is_refused_as_such(examples, tmp_path):
    path = tmp_path / "a.safetensors"
    ColdJVP().fit(zoo.bridge("gpt2"), examples).save(path)
    with pytest.raises(SteeringError, match=r"fitted on, tiny-gpt2 with .*; found tiny-llama with"):
        Steering.load(path, zoo.bridge("llama"))


@pytest.mark.parametrize("through", ["in place", "data"])
def test_changed_weights_are_refused(examples, tmp_path, through):
    model = zoo.bridge("llama")
    steering = DiffMean().fit(model, examples)
    steering.save(tmp_path / "a.safetensors")
    weight = next(iter(model.original_model.parameters()))
    with torch.no_grad():
        (weight.data if through == "data" else weight).mul_(1.01)
    for use in (
        lambda: Steering.load(tmp_path / "a.safetensors", model),
        lambda: steering.displacement(IDS),
        lambda: steering.apply(model, layer=0),
    ):
        with pytest.raises(SteeringError, match="Fit the steering on this model"):
            use()


def _foreign(path: Path, llama) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def _other_format(path: Path, llama) -> None:
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})


def _truncated(path: Path, llama) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _noise(path: Path, llama) -> None:
    path.write_bytes(b"not a safetensors file at all")


def _empty(path: Path, llama) -> None:
    path.write_bytes(b"")


def _broken_header(path: Path, llama) -> None:
    save_file({"a": torch.zeros(1)}, path, {"format": storage.FORMAT, "coldlens": "{"})


def _no_header(path: Path, llama) -> None:
    save_file({"a": torch.zeros(1)}, path, {"format": storage.FORMAT})


def _changed(path: Path, **changes: object) -> None:
    tensors, header = storage.read_file(path)
    storage.write_file(path, tensors, header | changes)


def _unknown_kind(path: Path, llama) -> None:
    _changed(path, kind="Magic")


def _unknown_field(path: Path, llama) -> None:
    header = storage.read_file(path)[1]
    _changed(path, provenance=header["provenance"] | {"colour": "red"})


def test_an_answer_prefix_that_was_ignored_is_dropped(llama, saved):
    rules = storage.read_file(saved)[1]["policy"]
    _changed(saved, policy=rules | {"answer_prefix": "("})
    assert Steering.load(saved, llama).origin.policy == TokenPolicy()
    _changed(saved, policy=rules | {"answer_prefix": "(", "chat_template": True})
    policy = TokenPolicy(chat_template=True, answer_prefix="(")
    assert Steering.load(saved, llama).origin.policy == policy


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_foreign, r"a file of format coldlens-steering-1; found .* with format None"),
        (_other_format, r"with format 'pt'. Only files written by Steering.save"),
        (_truncated, "a readable safetensors file"),
        (_noise, "damaged or of another kind"),
        (_empty, "a readable safetensors file"),
        (_broken_header, "a header in JSON"),
        (_no_header, "a header in JSON"),
        (_unknown_kind, r"a header that does not fit \('Magic'\)"),
        (_unknown_field, "a header that does not fit .*colour.* Fit and save the steering again"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_is_no_steering(llama, saved, damage, text):
    damage(saved, llama)
    with pytest.raises(SteeringError, match=text):
        Steering.load(saved, llama)


def test_no_such_file(llama, tmp_path):
    with pytest.raises(SteeringError, match=r"found no file .* Check the path"):
        Steering.load(tmp_path / "nothing.safetensors", llama)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_while_saving_keeps_the_old_file(llama, examples, saved, monkeypatch, error):
    before = saved.read_bytes()

    def fail(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise error("disk full")

    monkeypatch.setattr(storage, "save_file", fail)
    with pytest.raises(error, match="disk full"):
        Random().fit(llama, examples).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_replaces_an_old_file(llama, examples, saved):
    Random().fit(llama, examples).save(saved)
    assert Steering.load(saved, llama).provenance.method == "Random"
    assert list(saved.parent.iterdir()) == [saved]
    json.dumps(storage.read_file(saved)[1])


def test_a_gradient_that_is_not_contiguous(tmp_path):
    model = zoo.bridge("gpt2")
    pairs = [Example("red dog", " blue bird", " green stone")]
    steering = ColdJVP().fit(model, pairs, 1)
    steering.save(tmp_path / "saved")
    loaded = Steering.load(tmp_path / "saved", model)
    assert torch.equal(loaded.vector(1), steering.vector(1))


def test_a_place_that_cannot_be_written(llama, examples, tmp_path):
    (tmp_path / "file").touch()
    steering = DiffMean().fit(llama, examples)
    with pytest.raises(DataError, match=r"file/a, which cannot be written \(Not a directory\)"):
        steering.save(tmp_path / "file" / "a")


def test_links_in_a_circle_cannot_be_written(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for place in (whole_file, lambda path: whole_folder(path, FolderKind("a", "b", frozenset()))):
        with (
            pytest.raises(DataError, match=r"loop/a, which cannot be written \(.*[Ss]ym"),
            place(tmp_path / "loop" / "a"),
        ):
            pass


def test_a_file_of_another_kind_is_not_replaced(llama, examples, tmp_path):
    steering, path = DiffMean().fit(llama, examples), tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(SteeringError, match="another one"):
        steering.save(path)
    assert path.read_text() == "precious"
    steering.save(tmp_path / "vectors.safetensors")
    steering.save(tmp_path / "vectors.safetensors")
