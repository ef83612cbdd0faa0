"""Two sequences compared: exact, in order, and in a time that nothing in them can stretch."""

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workflows.core.comparison import compare

lines = st.lists(st.sampled_from("abcd"), max_size=12)


def shared(old: list[str], new: list[str]) -> int:
    """The length of a longest common subsequence, counted the slow way."""
    row = [0] * (len(new) + 1)
    for item in old:
        before = row[:]
        for j, other in enumerate(new):
            row[j + 1] = before[j] + 1 if item == other else max(before[j + 1], row[j])
    return row[-1]


@given(lines, lines)
def test_the_stretches_lead_from_the_one_to_the_other(old: list[str], new: list[str]) -> None:
    at_old = at_new = 0
    kept, turns = 0, []
    for each in compare(old, new):
        assert (each.start_old, each.start_new) == (at_old, at_new)
        at_old, at_new = each.end_old, each.end_new
        turns.append(each.is_same)
        if each.is_same:
            assert old[each.start_old : at_old] == new[each.start_new : at_new] != []
            kept += at_old - each.start_old
        else:
            assert at_old > each.start_old or at_new > each.start_new
    assert (at_old, at_new) == (len(old), len(new))
    assert all(one != other for one, other in pairwise(turns))
    assert kept == shared(old, new)


def test_a_change_is_found_between_what_stays() -> None:
    found = compare(["a", "b", "c"], ["a", "x", "c"])
    assert [(each.is_same, each.start_new, each.end_new) for each in found] == [
        (True, 0, 1),
        (False, 1, 2),
        (True, 2, 3),
    ]


def test_hostile_texts_take_no_longer() -> None:
    """What other algorithms take minutes for: the same few items over and over, out of step."""
    start = time.process_time()
    for old, new in (("ab", "ba"), ("a ", "b "), ("abac", "caba")):
        compare(list(old * 2_000), ["x", *new * 2_000])
    compare([str(n % 7) for n in range(200_000)], [str(n % 11) for n in range(200_000)])
    assert time.process_time() - start < 2
