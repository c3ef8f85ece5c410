"""Which objects lie on disk and who needs them: an object stays while the index names it or a request holds it.

Holds are of this process alone: after a restart nothing is in flight, and what the index does not name is cleaned.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from reference_node.registry.store import Store


class Shelf:
    """The objects of a registry; safe to use from several threads.

    Parameters
    ----------
    store
        Where they lie.
    sizes
        Bytes by hash of what lies there.
    named
        Hashes that the index names.
    """

    def __init__(self, store: Store, sizes: Mapping[str, int], named: Iterable[str]) -> None:
        self._store, self._sizes, self._named = store, dict(sizes), frozenset(named)
        self._holds: Counter[str] = Counter()
        self._lock = threading.Lock()

    def sizes(self, names: Iterable[str] | None = None) -> dict[str, int]:
        """Return the bytes by hash of some objects, or of all on disk."""
        with self._lock:
            return dict(self._sizes) if names is None else {name: self._sizes.get(name, 0) for name in names}

    def hold(self, name: str) -> bool:
        """Keep an object until `release`; False when it is not there to be kept."""
        with self._lock:
            if name not in self._named and not self._holds[name]:
                return False
            self._holds[name] += 1
            return True

    def release(self, name: str) -> None:
        """End one hold; the last one of an object that the index does not name removes it."""
        with self._lock:
            assert self._holds[name] > 0, f"{name} is released more often than held"
            self._holds[name] -= 1
            trash = self._drop([name])
        self._erase(trash)

    def put(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write an object and hold it; on failure it is not held."""
        with self._lock:
            self._holds[name] += 1  # a request that ends meanwhile must not take it away
        try:
            self._store.put(name, files)
        except BaseException:
            self.release(name)
            raise
        with self._lock:
            self._sizes[name] = sum(map(len, files.values()))

    def keep(self, named: Iterable[str]) -> None:
        """Take the hashes that the index names from now on, and remove what nobody needs any more."""
        with self._lock:
            gone, self._named = self._named, frozenset(named)
            trash = self._drop(gone - self._named)
        self._erase(trash)

    def _drop(self, names: Iterable[str]) -> list[Path]:
        """Take what nobody needs out of sight; the caller has the lock and erases what is returned without it."""
        trash = []
        for name in names:
            if self._holds[name] <= 0:
                del self._holds[name]
                if name not in self._named:
                    self._sizes.pop(name, None)
                    trash.append(self._store.discard(name))
        return trash

    def _erase(self, trash: Iterable[Path]) -> None:
        for path in trash:
            self._store.erase(path)
