"""What is measured on: models with random weights and examples of random words, as folders."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from analyses.benchmark.literal import Padded
from analyses.peers.clock import touch
from analyses.peers.driver import Peers
from coldlens.examples.batch import Batch, Side, batches, pad
from coldlens.examples.example import Example, ExampleSet, TokenPolicy
from coldlens.examples.tokens import Encoded, encode
from coldlens.models.load import load_model

BATCH = 8
"""Examples, pairs or questions that are run at once, by everything that is measured."""
VOCABULARY = 4096
_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


@dataclass(frozen=True)
class Size:
    """Sizes of a model and of its examples.

    Attributes:
        d: Width, a multiple of 64.
        layers: Depth.
        tokens: Mean length of a sequence, prompt and answer; lengths are up to a quarter off.
        examples: Number of examples, and of questions.
    """

    d: int
    layers: int
    tokens: int
    examples: int

    def save(self, folder: Path) -> int:
        """Writes a Llama with random weights, its tokenizer and the pairs, the same each time.

        The pairs are in order of length, as coldlens runs them, so that who runs them as they
        come pads as little.

        Args:
            folder: Where they go.

        Returns:
            Its number of parameters.
        """
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=self.d,
            intermediate_size=8 * self.d // 3,
            num_hidden_layers=self.layers,
            num_attention_heads=self.d // 32,
            num_key_value_heads=self.d // 32,
            max_position_embeddings=2 * self.tokens,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = LlamaForCausalLM(config)
        network.save_pretrained(folder)
        _tokenizer().save_pretrained(folder)
        texts = sorted(self._texts(seed=0), key=lambda pair: pair[0].count(" "))
        pairs = [(prompt + yes, prompt + no) for prompt, yes, no in texts]
        (folder / "pairs.json").write_text(json.dumps(pairs))
        return sum(values.numel() for values in network.parameters())

    def pairs(self, seed: int = 0) -> ExampleSet:
        """Returns prompts with two answers of one word each, as text.

        Args:
            seed: Seed of the draw.

        Returns:
            The pairs.
        """
        found = tuple(Example(*texts) for texts in self._texts(seed))
        return ExampleSet(found, name="random", policy=TokenPolicy(bos="never"))

    def _texts(self, seed: int) -> list[tuple[str, str, str]]:
        generator = torch.Generator().manual_seed(seed)

        def drawn(count: int) -> str:
            ids = torch.randint(len(_SPECIAL), VOCABULARY, (count,), generator=generator)
            return "".join(f" w{token}" for token in ids.tolist())

        low, high = 3 * self.tokens // 4, 5 * self.tokens // 4
        lengths = torch.randint(low, high + 1, (self.examples,), generator=generator)
        return [(drawn(length - 1), drawn(1), drawn(1)) for length in lengths.tolist()]


class Subject:
    """A model, loaded as a bridge, by Hugging Face alone and by the peers, and its examples.

    Attributes:
        size: The sizes.
        parameters: Number of parameters.
        model: The bridge.
        network: The Hugging Face model by itself, with the attention that it has by default.
        examples: Pairs to fit on.
        questions: Pairs to measure on.
        encoded: The examples' tokens.
        order: Places of the questions, by length.
        asked: Their tokens in that order.
        peers: The process that has loaded the same, or None.
    """

    def __init__(self, size: Size, peers: Peers | None) -> None:
        """Makes and loads it.

        Args:
            size: The sizes.
            peers: The process of the peers, to load the same.
        """
        self.size, self.peers = size, peers
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.parameters = size.save(folder)
            self.model: TransformerBridge = load_model(folder, device="cpu")
            self.network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder).eval()
            for model in (self.model.original_model, self.network):
                touch(model.parameters())
            if peers is not None:
                peers.prepare(folder, BATCH)
        self.examples, self.questions = size.pairs(), size.pairs(seed=1)
        self.encoded = encode(self.model, self.examples)
        found = encode(self.model, self.questions)
        self.order = sorted(range(len(found)), key=lambda place: len(found[place].prompt))
        self.asked: list[Encoded] = [found[place] for place in self.order]

    def batches(self, sides: tuple[Side, ...]) -> list[Batch]:
        """Returns the examples in the batches in which coldlens runs them."""
        return list(batches(self.encoded, sides, BATCH))

    def prompts(self) -> list[Padded]:
        """Returns the prompts of the questions in batches."""
        ids = [one.prompt for one in self.asked]
        return [pad(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]

    def columns(self) -> dict[str, int]:
        """Returns the sizes by name, for a table."""
        return {**asdict(self.size), "parameters": self.parameters}


def _tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer whose token of `w17` is 17, without a BOS."""
    words = [*_SPECIAL, *(f"w{token}" for token in range(len(_SPECIAL), VOCABULARY))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)
