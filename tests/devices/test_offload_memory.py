"""How much of an offloaded model is in memory at the same time."""

from functools import cache

import pytest
import torch
import zoo
from accelerate import disk_offload
from accelerate.utils.offload import OffloadedWeightsLoader
from devices.boot import booted
from torch.multiprocessing.reductions import StorageWeakRef

import coldlens as cl
from coldlens.examples.example import Example, ExampleSet
from coldlens.losses import DPO
from coldlens.models import parameters
from coldlens.models.casting import Deferred

CPU = torch.device("cpu")
TOKENS = torch.tensor([[1, 6, 7, 8]])
FEW = ExampleSet((Example((9, 4, 31), (12, 5), (17,)),))
METHODS = [
    cl.ColdFD(DPO(), epsilon=0.01, gradient="factored"),
    cl.ColdJVP(DPO(), gradient="factored"),
]


class Loaded:
    """Counts the bytes of what was loaded and is alive."""

    def __init__(self, load):
        """Takes what loads a weight."""
        self._load = load
        self._storages = []
        self.most = 0

    def __call__(self, loader, key):
        """Returns the weight."""
        weight = self._load(loader, key)
        storage = weight.untyped_storage()
        alive = [one for one in self._storages if not one[0].expired()]
        self._storages = [*alive, (StorageWeakRef(storage), storage.nbytes())]
        self.most = max(self.most, sum(size for _, size in self._storages))
        return weight


@pytest.fixture
def model(tmp_path, monkeypatch):
    stem, settings = zoo.CONFIGS["llama"]
    monkeypatch.setitem(zoo.CONFIGS, "deep", (stem, {**settings, "num_hidden_layers": 6}))
    return booted(disk_offload(zoo.hf_model("deep"), str(tmp_path), CPU))


def keeping(on_use):
    """Returns what keeps a weight that it loaded."""

    def kept(module, attribute):
        weight = on_use(module, attribute)
        if isinstance(weight, Deferred):
            weight._fetch = cache(weight._fetch)
        return weight

    return kept


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_weight_at_a_time(model, method, kept, monkeypatch):
    """And the one before it. Counter-case: what was loaded stays."""
    if kept:
        monkeypatch.setattr(parameters, "on_use", keeping(parameters.on_use))
    watch = Loaded(OffloadedWeightsLoader.__getitem__)
    monkeypatch.setattr(OffloadedWeightsLoader, "__getitem__", lambda *which: watch(*which))
    method.fit(model, FEW).displacement(TOKENS)
    sizes = [one.nbytes for one in model.original_model.parameters()]
    assert watch.most > sum(sizes) / 2 if kept else watch.most <= 2 * max(sizes)
