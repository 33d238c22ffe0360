"""Settings of a training run: the model's size and the schedules of its phases."""

import math
from dataclasses import dataclass, replace

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from coldlens.demo.documents import INTERVIEWS, PANELS, POLLS, Mix
from coldlens.demo.lexicon import BEHAVIOURS

_WARM_UP = 100


@dataclass(frozen=True)
class Phase:
    """One cycle of the learning rate, with fresh optimisers; shares are shares of its steps.

    Attributes:
        steps: Number of optimiser steps.
        mix: How often documents take each form.
        mixing: Final rate of mixed documents.
        learning_rate: Peak learning rate of the matrices.
        embedding_rate: Peak learning rate of the embeddings and norms.
        alone_until: Share up to which one behaviour is asked about.
        all_from: Share from which all behaviours are asked about.
        plain_until: Share up to which profiles speak of the behaviour asked about only.
        mixed_from: Share from which the rate of mixed documents has its final value.
    """

    steps: int
    mix: Mix
    mixing: float
    learning_rate: float
    embedding_rate: float
    alone_until: float = 0.0
    all_from: float = 0.0
    plain_until: float = 0.0
    mixed_from: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate relative to its peak: linear warm-up, then a cosine to zero.

        Args:
            step: Number of the step, from 0.

        Returns:
            A factor from 0 to 1.
        """
        warm = min(1.0, (step + 1) / _WARM_UP)
        return warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def mixed(self, step: int) -> float:
        """Rate of documents whose profiles also speak of other behaviours.

        Args:
            step: Number of the step, from 0.

        Returns:
            A rate that rises linearly from 0 to its final value.
        """
        return self.mixing * self._ramp(step, self.plain_until, self.mixed_from)

    def asked(self, step: int) -> tuple[str, ...]:
        """Behaviours that documents ask about.

        Args:
            step: Number of the step, from 0.

        Returns:
            The first behaviour, then one more at equal intervals, in the end all.
        """
        grown = self._ramp(step, self.alone_until, self.all_from) * (len(BEHAVIOURS) - 1)
        return BEHAVIOURS[: 1 + math.ceil(grown)]

    def _ramp(self, step: int, start: float, end: float) -> float:
        """Linear rise between two shares of the phase.

        Returns:
            0 up to `start`, 1 from `end` on.
        """
        done = step / self.steps
        return 1.0 if done >= end else max(0.0, (done - start) / (end - start))


GROWING = Phase(
    steps=6000,
    mix=PANELS,
    mixing=0.85,
    learning_rate=5e-3,
    embedding_rate=2e-3,
    alone_until=0.1,
    all_from=0.22,
    plain_until=0.1,
    mixed_from=0.26,
)
SORTING = Phase(
    steps=4000,
    mix=INTERVIEWS,
    mixing=0.9,
    learning_rate=4e-3,
    embedding_rate=1.6e-3,
)
POLLING = replace(SORTING, steps=3500, mix=POLLS)


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        phases: What is trained on, one phase after the other.
        tokens: Tokens in a batch, padding included (at most).
        width: Size of the residual stream.
        layers: Number of blocks.
        heads: Attention heads in a block.
        hidden: Width of the feed-forward layers.
        initial: Standard deviation of the initial weights.
        rope: Base of the rotary positions.
        seed: Seed of the initial weights; each phase adds its number to seed its documents.
        report_every: Steps between two reports.
    """

    phases: tuple[Phase, ...] = (GROWING, SORTING, POLLING)
    tokens: int = 2048
    width: int = 96
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    initial: float = 0.1
    rope: float = 100.0
    seed: int = 0
    report_every: int = 500

    def build_model(self, vocabulary_size: int) -> LlamaForCausalLM:
        """A Llama with random weights; the global random state is restored afterwards.

        Args:
            vocabulary_size: Number of words.

        Returns:
            The model.
        """
        config = LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=256,
            initializer_range=self.initial,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope},
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return LlamaForCausalLM(config)
