"""The day's users, a tile of them at a time.

Rule decided here: where few use the service, kernels read only what belongs to those few, listed by number, and first
put it side by side, because loops over what lies apart use no vector instructions. Where most use it, everybody is
listed, what belongs to a tile is read where it is, and a mask says who counts. A tile fits the fastest cache.
"""

from __future__ import annotations

from numba import njit

TILE = 1024
"""Users of a tile."""
EVERYBODY_FROM = 0.65
"""Part of the users from which on everybody is listed."""


@njit(cache=True, nogil=True)
def list_users(active, count, users):  # type: ignore[no-untyped-def]
    """List a run's users; returns the length of the list.

    Parameters
    ----------
    active
        Who uses the service, bool (users,).
    count
        How many do.
    users
        Their numbers, rising, uint32 (users,), written in the first places.
    """
    if count >= EVERYBODY_FROM * active.size:
        for u in range(active.size):
            users[u] = u
        return active.size
    found = 0
    for u in range(active.size):  # without a branch: the next user overwrites one who does not count
        users[found] = u
        found += int(active[u])
    return found


@njit(cache=True, nogil=True)
def of_tile(users, source, room):  # type: ignore[no-untyped-def]
    """Return what belongs to a tile of users: where it is, or put side by side in `room`.

    Parameters
    ----------
    users
        Part of a list of users, not empty, uint32 (tile,).
    source
        An element for each user, (users,).
    room
        As `source`, (`TILE`,), may be written.
    """
    first, size = users[0], users.size
    if users[size - 1] - first + 1 == size:
        return source[first : first + size]
    for i in range(size):
        room[i] = source[users[i]]
    return room[:size]


@njit(cache=True, nogil=True)
def active_of_tile(users, active, everybody):  # type: ignore[no-untyped-def]
    """Return who of a tile of users uses the service; `everybody` is all true, bool (`TILE`,)."""
    first, size = users[0], users.size
    return active[first : first + size] if users[size - 1] - first + 1 == size else everybody[:size]
