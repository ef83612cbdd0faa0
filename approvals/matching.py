"""Which person takes which place of a policy, so that as few places as possible stay empty.

Pure. A policy is a tree; its leaves are the places, each a name, each taken by another person. A
policy of names alone is matched exactly (augmenting paths). In a composed one whoever can take
one place only takes it; the others are interchangeable where they can take the same places, and
are tried in all ways, as long as these are few: then the best ones found are gone on with. So a
policy may count as not met although it is, in the strangest cases, but never the other way round.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

#: How many ways are gone on with: at most so many, and fewer the larger the policy is, so that
#: counting takes milliseconds.
_MOST_WAYS = 500
_WORK = 20_000

#: How many of each kind of person are taken.
Taken = tuple[int, ...]


class Filling(NamedTuple):
    """A way to fill a policy: the number of places filled, and the names of the others."""

    filled: int = 0
    missing: tuple[str, ...] = ()

    def with_(self, other: "Filling") -> "Filling":
        return Filling(self.filled + other.filled, self.missing + other.missing)

    @property
    def rank(self) -> tuple[int, int]:
        """Less is better: few places empty, then many filled."""
        return len(self.missing), -self.filled


Ways = dict[Taken, Filling]


def assign(choices: Sequence[Collection[int]]) -> dict[int, int]:
    """Return place → person for as many persons as can each have one of their ``choices``."""
    taken: dict[int, int] = {}

    def seat(person: int, tried: set[int]) -> bool:
        for place in choices[person]:
            if place not in tried:
                tried.add(place)
                if place not in taken or seat(taken[place], tried):
                    taken[place] = person
                    return True
        return False

    for person in range(len(choices)):
        seat(person, set())
    return taken


def fill(policy: dict[str, Any], persons: Sequence[Collection[str]]) -> Filling:
    """Return the best way to fill ``policy`` with persons, each given by the names they can be."""
    entries, needed = _parts(policy)
    if all(isinstance(entry, str) for entry in entries):
        return _fill_flat(list(entries), needed, persons)
    return _Search(policy, persons).best()


def _fill_flat(names: list[str], needed: int, persons: Sequence[Collection[str]]) -> Filling:
    taken = assign([{i for i, name in enumerate(names) if name in can} for can in persons])
    if len(taken) >= needed:
        return Filling(needed)
    open_names = tuple(name for index, name in enumerate(names) if index not in taken)
    return Filling(len(taken), open_names[: needed - len(taken)])


def _parts(policy: dict[str, Any]) -> tuple[Sequence[Any], int]:
    """Return the entries of a policy, and how many of them are needed."""
    if entries := policy.get("any_of"):
        return entries, 1
    entries = policy.get("all_of") or policy["of"]
    return entries, policy.get("n_of") or len(entries)


class _Search:
    """Tries the ways to fill a composed policy."""

    def __init__(self, policy: dict[str, Any], persons: Sequence[Collection[str]]) -> None:
        self._policy = policy
        self._numbers = itertools.count()
        names = list(_names(policy))
        can_take = [
            frozenset(number for number, name in enumerate(names) if name in can) for can in persons
        ]
        self._certain = {place for can in can_take if len(can) == 1 for place in can}
        kinds = Counter(can - self._certain for can in can_take if len(can) > 1)
        kinds.pop(frozenset(), None)
        self._kinds = list(kinds)
        self._supply = tuple(kinds.values())
        self._none = (0,) * len(kinds)
        self._most = max(4, min(_MOST_WAYS, _WORK // (len(names) ** 2 * (len(kinds) + 1))))

    def best(self) -> Filling:
        return min(self._ways(self._policy).values(), key=lambda filling: filling.rank)

    def _ways(self, entry: Any) -> Ways:
        if isinstance(entry, str):
            return self._ways_of_place(next(self._numbers), entry)
        entries, needed = _parts(entry)
        chosen: list[Ways] = [{self._none: Filling()}, *({} for _ in range(needed))]
        for index, part in enumerate(entries):
            ways = self._ways(part)
            # Fewer than so many cannot become enough with those that are left.
            fewest = max(1, needed - (len(entries) - index - 1))
            for count in range(min(needed, index + 1), fewest - 1, -1):
                chosen[count] = self._pruned(chosen[count], self._joined(chosen[count - 1], ways))
        return chosen[needed]

    def _ways_of_place(self, number: int, name: str) -> Ways:
        if number in self._certain:
            return {self._none: Filling(1)}
        ways = {self._none: Filling(0, (name,))}
        for index, places in enumerate(self._kinds):
            if number in places:
                taken = tuple(int(i == index) for i in range(len(self._kinds)))
                ways[taken] = Filling(1)
        return ways

    def _joined(self, some: Ways, others: Ways) -> Iterator[tuple[Taken, Filling]]:
        for taken, filling in some.items():
            for more, other in others.items():
                both = tuple(a + b for a, b in zip(taken, more, strict=True))
                if all(a <= b for a, b in zip(both, self._supply, strict=True)):
                    yield both, filling.with_(other)

    def _pruned(self, ways: Ways, more: Iterator[tuple[Taken, Filling]]) -> Ways:
        for taken, filling in more:
            if taken not in ways or filling.rank < ways[taken].rank:
                ways[taken] = filling
        if len(ways) <= self._most:
            return ways
        best = sorted(ways.items(), key=lambda way: (way[1].rank, sum(way[0])))
        # The way that needs nobody always leads somewhere.
        return {self._none: ways[self._none], **dict(best[: self._most])}


def _names(policy: dict[str, Any]) -> Iterator[str]:
    """Yield the names of a policy in the order in which its places are numbered."""
    for entry in _parts(policy)[0]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from _names(entry)
