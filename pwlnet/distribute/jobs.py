"""Jobs: what is computed for each of n items, and how its rows reach a store.

Legend: n items, D inputs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import InputError
from ..network import Network
from ..store import schema
from ..store.digest import add_bytes, start_array
from ..store.merge import copy_batch
from ..tolerances import DEFAULT, Tolerances

if TYPE_CHECKING:
    from ..store.reader import RegionStore
    from ..store.writer import StoreWriter

_BLOCK = 2**24  # bytes of inputs that are read at once for their digest
_COMMIT_BYTES = 2**24  # of batches that are written together ...
_COMMIT_SECONDS = 10.0  # ... unless they take long: what a program that is killed loses


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What is computed for each of n items, in batches; made by ``lines_job``, ``planes_job`` and others.

    Attributes
    ----------
    kind : str
        Of the rows in the store: a key of ``store.schema.KINDS``.
    network : Network
    n_items : int
    first_item : int
        Number of the first item in the whole job, of which this may be a part.
    batch : int
        Items that are computed together.
    parameters, seeds : dict
        For the provenance of the store. ``parameters["job"]`` has the settings and a digest of the inputs: a store, or a
        shard, is continued by the same job only.
    tolerances : Tolerances
    """

    kind: ClassVar[str]
    unit: ClassVar[str] = "item"

    network: Network = dataclasses.field(repr=False)
    n_items: int
    batch: int = 1
    first_item: int = 0
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    seeds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    tolerances: Tolerances = DEFAULT

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps of ``pwlnet.warmup`` that compile its kernels."""
        return ()

    def part(self, first: int, last: int) -> Job:
        """Return the job of items ``first`` to ``last`` (not included), of the same whole."""
        return self.with_items(first, last, self.slice(first, last))

    def with_items(self, first: int, last: int, fields: Mapping[str, Any]) -> Job:
        """Return the job of items ``first`` to ``last`` (not included), given what ``slice`` returned for them."""
        return dataclasses.replace(self, n_items=last - first, first_item=self.first_item + first, **fields)

    def compute(self, first: int, last: int, *, threads: int | None = None) -> dict[str, np.ndarray]:
        """Compute items ``first`` to ``last`` (not included): arrays of ``schema.KINDS[kind]`` by field."""
        raise NotImplementedError

    def append(self, writer: StoreWriter, *, threads: int | None = None) -> Iterator[int]:
        """Append what a store does not have yet, batch by batch: yields the number of items that it has then."""
        done, waiting = self.n_done(writer), _Waiting(self.kind, writer)
        try:
            while done < self.n_items:
                last = min(done - done % self.batch + self.batch, self.n_items)
                waiting.add(self.compute(done, last, threads=threads))
                done = last
                if waiting.is_enough or done == self.n_items:
                    waiting.commit()
                    yield done
        except BaseException:
            waiting.commit()
            raise

    def n_done(self, writer: StoreWriter) -> int:
        """Return the number of items that a store has."""
        return writer.n_rows(self.kind)

    def finish_started(self, writer: StoreWriter) -> None:
        """Finish an item of which a store has the first part only, so that shards can follow."""

    def copy(
        self, stored: RegionStore, writer: StoreWriter, first: int, last: int, state: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Append a shard to a store that has the shards before it.

        Parameters
        ----------
        stored : RegionStore
            The shard.
        writer : StoreWriter
            It may have the first rows of the shard already.
        first, last : int
            The items of the shard.
        state : dict, optional
            What this returned for the shard before, in this process.

        Returns
        -------
        dict or None
        """
        n_known = self.n_done(writer) - first
        for commit in stored.commits:
            copy_batch(stored, commit, writer, first=n_known)
        return None

    def settings(self) -> dict[str, Any]:
        """Return what results depend on besides the network and the inputs: dict of JSON values."""
        return {}

    def slice(self, first: int, last: int) -> dict[str, Any]:
        """Return the fields that items ``first`` to ``last`` (not included) need, and no others: dict."""
        raise NotImplementedError

    def _inputs(self, first, last):
        """Return inputs of items ``first`` to ``last``, by their kind: list of sequences of arrays, one of each item."""
        raise NotImplementedError

    def _finished(self, parameters):
        """Return the job with its identity in the parameters."""
        given = {} if parameters is None else parameters
        if not isinstance(given, Mapping) or "job" in given:
            raise InputError("parameters must be a dict without the key 'job', which describes the job itself")
        if not self.n_items:
            raise InputError(f"the job has no {self.unit}s; give at least one")
        identity = {"kind": self.kind, "items": self.n_items, "inputs": self._inputs_digest(), **self.settings()}
        return dataclasses.replace(self, parameters={**given, "job": identity})

    def _inputs_digest(self):
        """Compute the SHA-256 (hex) of the inputs, some at a time."""
        sha, first = hashlib.sha256(), 0
        n = max(1, _BLOCK // max(1, sum(rows[0].nbytes for rows in self._inputs(0, 1))))
        while first < self.n_items:
            last = min(first + n, self.n_items)
            for rows in zip(*self._inputs(first, last), strict=True):
                for row in rows:
                    start_array(sha, "", row.dtype, row.shape)
                    add_bytes(sha, row)
            first = last
        return sha.hexdigest()


class _Waiting:
    """Batches that were computed and are not yet in the store."""

    def __init__(self, kind, writer):
        self._kind, self._writer, self._batches, self._since = kind, writer, [], time.monotonic()

    @property
    def is_enough(self):
        """Whether to write them now."""
        n_bytes = sum(array.nbytes for batch in self._batches for array in batch.values())
        is_ragged = bool(schema.KINDS[self._kind].counts)  # offsets: batches are not joined
        return is_ragged or n_bytes >= _COMMIT_BYTES or time.monotonic() - self._since > _COMMIT_SECONDS

    def add(self, batch):
        """Note a batch: arrays by field."""
        self._batches.append(batch)

    def commit(self):
        """Write all of them as one batch of the store."""
        batches, self._batches, self._since = self._batches, [], time.monotonic()
        if batches:
            fields = batches[0] if len(batches) == 1 else {f: np.concatenate([b[f] for b in batches]) for f in batches[0]}
            self._writer.append(self._kind, fields)
