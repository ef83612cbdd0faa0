"""What the pages make of data, without a page: payloads, differences, timelines, consequences."""

import time
from datetime import UTC, datetime

import pytest

from approvals.models import WorkflowStepApproval
from approvals.pages import payload
from approvals.pages.following import Following, silence_of
from approvals.pages.payload import render_markdown, render_payload
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.pages.differences import MOST_DIFFERENCES, Part, find_differences
from workflows.pages.documents import shorten, show_json
from workflows.pages.graphs import edges_of, surroundings
from workflows.pages.timeline import AXIS, Stretch, Timeline

NOW = datetime(2025, 10, 14, 15, 0, tzinfo=UTC)


class TestMarkdown:
    def test_html_is_shown_as_the_text_that_it_is(self):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in render_markdown(
            "<script>alert(1)</script>"
        )

    def test_what_the_renderer_lets_through_is_cleaned_all_the_same(self, monkeypatch):
        from markdown_it import MarkdownIt

        monkeypatch.setattr(payload, "_MARKDOWN", MarkdownIt("commonmark", {"html": True}))
        html = render_markdown(
            '<script>alert(1)</script><a href="javascript:alert(1)" onclick="x()">a</a>'
            "<img src=x><style>a{}</style><form action=/login><input></form>\n"
        )
        for forbidden in ("script", "javascript:", "onclick", "<img", "<style", "<form", "<input"):
            assert forbidden not in html

    def test_links_lead_to_the_web_only_and_give_nothing_away(self):
        html = render_markdown("[a](https://example.org) [b](javascript:x) [c](/logout/)")
        assert 'href="https://example.org" rel="noopener noreferrer nofollow"' in html
        assert "javascript:" not in html.replace("(javascript:x)", "")
        assert "/logout/" not in html

    def test_headings_stand_below_the_pages_own(self):
        assert render_markdown("# Big\n\n###### Small").count("<h4>") == 2


class TestPayload:
    def test_short_values_are_pairs_and_large_ones_have_headings(self):
        html = render_payload({"plan": {"release": "2026.47"}, "count": 9, "ok": True, "no": None})
        assert "<dt>count</dt><dd>9</dd>" in html
        assert "<dt>ok</dt><dd>yes</dd>" in html
        assert html.index("count") < html.index("<h4>plan</h4>")

    def test_objects_of_one_shape_are_a_table(self):
        html = render_payload([{"a": 1, "b": "x"}, {"a": 2, "c": "y"}])
        assert html.count('<th scope="col">') == 3
        assert html.count("<tr>") == 3

    def test_keys_and_values_are_text(self):
        html = render_payload({"<b>": "<i>", "list": ["<u>"], "rows": [{"<p>": "<q>"}] * 2})
        for tag in ("<b>", "<i>", "<u>", "<p>", "<q>"):
            assert tag not in html

    @pytest.mark.parametrize("value", ["", [], {}, None, 0, False, 1.5, 2**60])
    def test_every_value_says_something(self, value):
        assert render_payload(value).strip()

    def test_it_is_bounded(self):
        wide = {f"key {index}": "value" for index in range(100_000)}
        deep: object = "bottom"
        for _ in range(31):
            deep = {"in": [deep]}
        long = [{"a": "x" * 500}] * 50_000
        for value in (wide, deep, long, "x" * 1_000_000):
            html = render_payload(value)
            assert len(html) < 400_000
            assert "raw JSON" in html

    def test_numbers_are_exact(self):
        assert "9007199254740993" in render_payload({"n": 2**53 + 1})


class TestDifferences:
    def test_the_words_that_differ_are_marked(self):
        (found,) = find_differences({"a": {"b": "all at once"}}, {"a": {"b": "all in stages"}})
        assert found.path == "a › b"
        assert "".join(part.text for part in found.before) == "all at once"
        assert [part.text for part in found.after if part.is_changed] == ["in stages"]

    def test_what_is_new_or_gone_has_one_side(self):
        gone, new = find_differences({"a": 1}, {"b": 2})
        assert (gone.path, gone.after) == ("a", [])
        assert (new.path, new.before) == ("b", [])

    def test_equal_values_have_none(self):
        assert find_differences({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == []

    def test_true_is_not_one(self):
        assert len(find_differences({"a": True}, {"a": 1})) == 1

    def test_lists_of_objects_are_compared_place_by_place(self):
        (found,) = find_differences([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}])
        assert found.path == "2 › n"

    def test_they_are_bounded(self):
        before, after = {str(i): 1 for i in range(5_000)}, {str(i): 2 for i in range(5_000)}
        assert len(find_differences(before, after)) == MOST_DIFFERENCES
        (found,) = find_differences("a b " * 50_000, "b a " * 50_000)
        assert sum(len(part.text) for part in found.before) < 5_000
        assert found.before[-1] == Part("… 198,000 more characters", is_changed=True)

    @pytest.mark.parametrize("middle", ["y" * 9_000, " and so on" * 900], ids=["word", "words"])
    def test_every_change_of_a_long_text_is_shown_with_what_stands_beside_it(self, middle):
        (found,) = find_differences(
            f"Do {middle} never {middle} at night", f"Do {middle} always {middle} by day"
        )
        for parts, words in (
            (found.before, ["never", "at night"]),
            (found.after, ["always", "by day"]),
        ):
            assert [part.text for part in parts if part.is_changed] == words
            assert sum(len(part.text) for part in parts) < 1_000
            assert parts[0].text.startswith("…")
            assert middle[:100] in parts[2].text
            assert middle[-100:] in parts[2].text

    def test_what_is_only_put_in_is_shown_where_it_stands_on_both_sides(self):
        (found,) = find_differences("x " * 3_000, "x " * 1_500 + "not " + "x " * 1_500)
        assert [part.text for part in found.after if part.is_changed] == ["not "]
        assert "x x x" in found.before[0].text
        assert len(found.before[0].text) < 1_000

    def test_one_endless_word_is_marked_from_where_it_differs(self):
        (found,) = find_differences("f" * 5_000 + "0", "f" * 5_000 + "1")
        assert [part.text for part in found.before if part.is_changed] == ["0"]
        assert [part.text for part in found.after if part.is_changed] == ["1"]

    def test_a_number_that_becomes_a_text_does_not_read_like_it(self):
        (found,) = find_differences({"n": 5}, {"n": "5"})
        assert [part.text for part in found.before] == ["5"]
        assert "".join(part.text for part in found.after) == '"5"'

    def test_long_texts_take_no_longer(self):
        start = time.process_time()
        words = "a b c d " * 20_000
        before = {"one": words, **{str(n): words[n:9_000] for n in range(150)}}
        after = {"one": words[::-1], **{str(n): words[9_000:n:-1] for n in range(150)}}
        assert len(find_differences(before, after)) == 151
        assert time.process_time() - start < 3


class TestTimeline:
    def test_work_keeps_its_proportions(self):
        timeline = Timeline([Stretch(0, 10), Stretch(10, 40)])
        first, second = timeline.bar(Stretch(0, 10)), timeline.bar(Stretch(10, 40))
        assert second.width == pytest.approx(3 * first.width, abs=0.1)
        assert second.x + second.width == pytest.approx(AXIS)

    def test_a_long_wait_for_people_is_shortened(self):
        timeline = Timeline(
            [Stretch(0, 60), Stretch(60, 3_660, is_wait=True), Stretch(3_660, 3_700)]
        )
        assert timeline.has_shortened
        assert timeline.bar(Stretch(0, 60)).width > AXIS / 2
        assert timeline.bar(Stretch(60, 3_660)).width < AXIS / 10

    def test_a_wait_beside_work_is_not(self):
        timeline = Timeline([Stretch(0, 100), Stretch(0, 100, is_wait=True)])
        assert not timeline.has_shortened

    def test_the_shortest_step_stays_visible_inside_the_axis(self):
        timeline = Timeline([Stretch(0, 1_000), Stretch(1_000, 1_000)])
        bar = timeline.bar(Stretch(1_000, 1_000))
        assert bar.width > 0
        assert bar.x + bar.width <= AXIS

    def test_nothing_has_no_length(self):
        assert Timeline([]).has_shortened is False

    def test_only_waits_are_shown_in_full(self):
        timeline = Timeline([Stretch(0, 3_600, is_wait=True)])
        assert timeline.bar(Stretch(0, 3_600)).width == AXIS


class TestConsequences:
    DEFINITION = {
        "steps": [
            {"name": "plan"},
            {"name": "gate", "depends_on_steps": ["plan"]},
            {"name": "deploy", "depends_on_steps": ["gate"], "description": "puts it live."},
            {"name": "report", "depends_on_steps": ["gate", "check"], "trigger_rule": "all_done"},
        ]
    }

    def follow(self, done=("plan",), definition=None, **columns):
        run = WorkflowExecution(number=7)
        step = WorkflowStepExecution(name="gate")
        approval = WorkflowStepApproval(workflow_execution=run, step_execution=step, **columns)
        return Following(approval, definition or self.DEFINITION, done).consequences()

    def test_approval_starts_what_waits_for_nothing_else(self):
        words = self.follow().approve
        assert words.startswith("<code>deploy</code> starts at once")
        assert words.endswith("<code>deploy</code>: puts it live.")
        assert "<code>report</code>" not in words

    def test_what_accepts_failures_runs_after_a_rejection(self):
        words = self.follow().reject
        assert "Run 7 fails." in words
        assert "<code>deploy</code> does not start." in words
        assert "<code>report</code> runs all the same." in words

    def test_a_rejection_can_be_an_answer(self):
        words = self.follow(approval_metadata={"on_reject": "continue"}).reject
        assert "completes with the answer “rejected”" in words
        assert "fails" not in words

    def test_a_failure_that_is_tolerated_fails_no_run(self):
        steps = [dict(step) for step in self.DEFINITION["steps"]]
        steps[1]["config"] = {"continue_on_error": True}
        words = self.follow(definition={"steps": steps}).reject
        assert "run 7 goes on" in words
        assert "Run 7 fails" not in words

    def test_silence_that_approves_and_silence_that_continues(self):
        assert "start." in self.follow(auto_approve_after_seconds=60, requested_at=NOW).silence
        later = self.follow(expires_at=NOW, approval_metadata={"on_timeout": "continue"})
        assert "“timed out”" in later.silence

    def test_what_comes_first_counts(self):
        approval = WorkflowStepApproval(
            requested_at=NOW, expires_at=NOW, auto_approve_after_seconds=60
        )
        assert silence_of(approval).effect == "approves"
        assert silence_of(WorkflowStepApproval()).effect == "nothing"

    def test_a_gate_that_nothing_waits_for(self):
        definition = {"steps": [{"name": "gate"}]}
        assert "No step waits for it." in self.follow(definition=definition).approve


class TestSurroundings:
    def test_a_small_graph_is_whole(self):
        names, edges = ("a", "b"), (("a", "b"),)
        assert surroundings(names, edges, "a") == (names, edges)

    def test_of_a_long_one_only_the_steps_around_are_shown(self):
        steps = [
            {"name": f"s{i}", "depends_on_steps": [f"s{i - 1}"] if i else []} for i in range(100)
        ]
        names = tuple(step["name"] for step in steps)
        shown, edges = surroundings(names, edges_of(steps), "s50")
        assert "s50" in shown
        assert len(shown) <= 5
        assert all(source in shown and target in shown for source, target in edges)


class TestDocuments:
    def test_long_json_says_how_much_is_left_out(self):
        text = show_json({"a": "x" * 100}, longest=20)
        assert text.endswith("more characters")
        assert len(text) < 60

    def test_a_line_is_one_line(self):
        assert shorten("first\nsecond") == "first"
        assert shorten("x" * 200, 10) == "x" * 9 + "…"
