"""Who must approve: rules as numbers and as policies, against a search through everything."""

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.policy import Count, Rule, Vote

NAMES = ("a", "b", "c", "d")


def vote(person: int, *names: str, seat: int | None = None) -> Vote:
    return Vote(person, person if seat is None else seat, frozenset(names))


def rule(*names: str, **metadata: Any) -> Rule:
    return Rule.of(names, metadata)


def is_met(policy: Any, persons: tuple[frozenset[str], ...]) -> bool:
    """Try every choice of places and every way to seat persons on them."""

    def needs(entry: Any) -> list[tuple[str, ...]]:
        if isinstance(entry, str):
            return [(entry,)]
        entries = entry.get("all_of") or entry.get("any_of") or entry["of"]
        count = 1 if "any_of" in entry else entry.get("n_of") or len(entries)
        found = []
        for chosen in combinations(entries, count):
            ways: list[tuple[str, ...]] = [()]
            for each in chosen:
                ways = [way + more for way in ways for more in needs(each)]
            found += ways
        return found

    return any(
        all(name in person for name, person in zip(places, seated, strict=True))
        for places in needs(policy)
        for seated in permutations(persons, len(places))
    )


def test_one_person_is_enough_unless_the_rule_says_otherwise() -> None:
    assert rule().is_one
    assert rule("a", "b").is_one
    assert rule("a", min_approvals="all").is_one
    assert not rule("a", "b", min_approvals="all").is_one
    assert not rule(min_approvals=2).is_one
    assert not rule("a", policy={"any_of": ["a"]}).is_one


def test_a_number_counts_persons_and_names_who_is_left() -> None:
    two = rule("a", "b", "group:g", min_approvals=2)
    assert two.count([]) == Count(0, 2, ("a", "b", "group:g"))
    assert two.count([vote(1, "a")]) == Count(1, 2, ("b", "group:g"))
    assert two.count([vote(1, "group:g"), vote(1, "group:g")]).given == 1
    assert two.count([vote(1, "group:g"), vote(2, "group:g")]) == Count(2, 2)
    assert two.count([vote(1, "a"), vote(2, "b"), vote(3, "group:g")]) == Count(2, 2)


def test_a_person_and_their_delegate_are_one() -> None:
    two = rule(min_approvals=2)
    assert not two.count([vote(1), vote(2, seat=1)]).is_met
    assert not two.count([vote(2, seat=1), vote(2, seat=3)]).is_met
    assert two.count([vote(2, seat=1), vote(3)]).is_met


def test_all_are_met_by_another_person_each() -> None:
    both = rule("a", "group:g", min_approvals="all")
    assert both.count([vote(1, "a", "group:g")]) == Count(1, 2, ("group:g",))
    assert both.count([vote(1, "a", "group:g"), vote(2, "a")]).is_met
    assert both.count([vote(2, "a"), vote(3, "a")]) == Count(1, 2, ("group:g",))


def test_the_same_name_twice_takes_two_persons() -> None:
    two = rule("group:g", policy={"all_of": ["group:g", "group:g"]})
    assert two.count([vote(1, "group:g")]) == Count(1, 2, ("group:g",))
    assert two.count([vote(1, "group:g"), vote(2, "group:g")]).is_met


def test_a_composed_policy_says_what_its_nearest_way_lacks() -> None:
    composed = rule(policy={"any_of": ["admin", {"all_of": ["legal", "money"]}]})
    assert composed.count([]) == Count(0, 1, ("admin",))
    assert composed.count([vote(1, "legal")]) == Count(1, 2, ("money",))
    assert len(composed.count([vote(1, "legal", "money")]).missing) == 1
    assert composed.count([vote(1, "legal"), vote(2, "money")]) == Count(2, 2)
    assert composed.count([vote(1, "admin")]).is_met


def policies(depth: int) -> Any:
    entry = st.sampled_from(NAMES)
    if depth:
        entry = entry | policies(depth - 1)
    entries = st.lists(entry, min_size=1, max_size=3)
    return st.one_of(
        entries.map(lambda of: {"all_of": of}),
        entries.map(lambda of: {"any_of": of}),
        entries.flatmap(lambda of: st.integers(1, len(of)).map(lambda n: {"n_of": n, "of": of})),
    )


@settings(max_examples=100, deadline=None)
@given(
    policy=policies(1),
    persons=st.lists(st.frozensets(st.sampled_from(NAMES)), max_size=4).map(tuple),
)
def test_a_policy_is_met_exactly_where_some_way_to_seat_people_meets_it(
    policy: Any, persons: tuple[frozenset[str], ...]
) -> None:
    votes = [vote(number, *names) for number, names in enumerate(persons)]
    count = Rule.of((), {"policy": policy}).count(votes)
    assert count.is_met == is_met(policy, persons)
    assert count.needed - count.given == len(count.missing)


@pytest.mark.parametrize("size", [10, 50])
def test_a_large_policy_is_counted_at_once(size: int) -> None:
    names = [f"n{number}" for number in range(size)]
    flat = {"n_of": size // 2, "of": names}
    nested = {"all_of": [{"any_of": [name, "group:g"]} for name in names]}
    votes = [vote(n, f"n{n}", f"n{(n + 1) % size}", "group:g") for n in range(size - 1)]
    assert Rule.of((), {"policy": flat}).count(votes).is_met
    assert len(Rule.of((), {"policy": nested}).count(votes).missing) <= 2
