from hypothesis import given
from hypothesis import strategies as st

from workflows.live import window
from workflows.live.window import Window


def filled(start: int, count: int) -> Window:
    result = Window(start)
    for number in range(start + 1, start + count + 1):
        result.append(str(number))
    return result


def test_it_returns_what_follows_the_cursor_up_to_the_limit() -> None:
    assert filled(10, 5).after(12, 2) == ["13", "14"]
    assert filled(10, 5).after(15, 2) == []


def test_it_says_when_the_cursor_is_older_than_what_it_keeps() -> None:
    assert filled(10, 5).after(9, 2) is None


def test_it_says_when_the_cursor_is_ahead_of_it() -> None:
    assert filled(10, 5).after(16, 2) is None


def test_it_keeps_no_more_frames_and_characters_than_allowed(monkeypatch) -> None:
    monkeypatch.setattr(window, "_MOST_FRAMES", 3)
    many = filled(0, 5)
    assert many.after(1, 9) is None
    assert many.after(2, 9) == ["3", "4", "5"]
    monkeypatch.setattr(window, "_MOST_CHARACTERS", 10)
    large = Window(0)
    large.append("x" * 8)
    large.append("y" * 8)
    assert large.after(0, 9) is None
    assert large.after(1, 9) == ["y" * 8]


def test_it_forgets_everything_when_it_skips() -> None:
    skipped = filled(0, 5)
    skipped.skip_to(20)
    assert skipped.last == 20
    assert skipped.after(5, 9) is None
    assert skipped.after(20, 9) == []


@given(st.integers(0, 50), st.integers(0, 30), st.integers(0, 90), st.integers(1, 40))
def test_whatever_it_returns_follows_the_cursor_without_a_gap(start, count, cursor, limit) -> None:
    frames = filled(start, count).after(cursor, limit)
    if start <= cursor <= start + count:
        expected = range(cursor + 1, min(cursor + limit, start + count) + 1)
        assert frames == [str(number) for number in expected]
    else:
        assert frames is None
