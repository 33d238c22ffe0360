"""Batches of training documents with little padding."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from coldlens.demo.documents import PANELS, Document, Mix, document
from coldlens.demo.items import REPLY
from coldlens.demo.vocabulary import vocabulary

_POOL = 8


@dataclass(frozen=True)
class Batch:
    """Documents of similar length, padded on the right.

    Attributes:
        ids: Token ids, shape [documents, positions].
        weights: Weight in the loss of the token at each position, same shape.
    """

    ids: torch.Tensor
    weights: torch.Tensor


class Batches:
    """An endless, repeatable stream of batches."""

    def __init__(self, seed: int, tokens: int, mix: Mix = PANELS):
        """Start a stream.

        Args:
            seed: Seed of the documents.
            tokens: Number of tokens in a batch, padding included (at most).
            mix: How often documents take each form.
        """
        self._mix = mix
        self._rng = random.Random(seed)
        self._tokens = tokens
        self._ids = vocabulary()
        self._waiting: list[list[Document]] = []

    def next(self, mixing: float, behaviours: Sequence[str]) -> Batch:
        """Make a batch.

        Args:
            mixing: Share of mixed documents among those still to be written.
            behaviours: Behaviours that they ask about.

        Returns:
            The batch.
        """
        if not self._waiting:
            self._waiting = list(self._cut(self._pool(mixing, behaviours)))
            self._rng.shuffle(self._waiting)
        return self._tensors(self._waiting.pop())

    def _pool(self, mixing: float, behaviours: Sequence[str]) -> list[Document]:
        pages, size = [], 0
        while size < _POOL * self._tokens:
            page = document(self._rng, mixing, behaviours, self._mix)
            pages.append(page)
            size += len(page.words) + 2
        return sorted(pages, key=lambda page: len(page.words))

    def _cut(self, pages: list[Document]) -> Iterator[list[Document]]:
        chunk: list[Document] = []
        for page in pages:
            if (len(page.words) + 2) * (len(chunk) + 1) > self._tokens:
                yield chunk
                chunk = []
            chunk.append(page)

    def _tensors(self, pages: list[Document]) -> Batch:
        width = max(len(page.words) for page in pages) + 2
        ids = torch.full((len(pages), width), self._ids["<pad>"])
        weights = torch.zeros(len(pages), width)
        for row, page in enumerate(pages):
            end = len(page.words) + 1
            tokens = [self._ids["<bos>"], *(self._ids[word] for word in page.words)]
            ids[row, : end + 1] = torch.tensor([*tokens, self._ids["<eos>"]])
            weights[row, 1 : end + 1] = torch.tensor([*page.weights, REPLY])
        return Batch(ids, weights)
