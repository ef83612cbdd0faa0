"""The page of a run with blocks, branches, attempts, revisions and sub-workflows."""

import re
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.models import WorkflowStepApproval
from approvals.services.requests import Request, open_requests
from tests.pages import html, row_titles, text
from workflows.core.ids import step_execution_id
from workflows.events import EventDraft, EventType, append_events
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.pages.timeline import AXIS
from workflows.services.definitions import create_workflow

pytestmark = pytest.mark.django_db


def task(name, *needs, **more):
    config = {"task": "transform", **more.pop("config", {})}
    needed = {"depends_on_steps": list(needs)}
    return {"name": name, "step_type": "task", "config": config, **needed, **more}


def block(name, steps, *needs, kind="parallel", **config):
    needed = {"depends_on_steps": list(needs)}
    return {"name": name, "step_type": kind, "config": {"steps": steps, **config}, **needed}


@pytest.fixture
def viewer(client_for):
    return client_for("viewer")


@pytest.fixture
def run_of(workspace, users, start):
    """Return a function that starts a run of these steps: ``run_of(task("a"), …)``."""

    def make(*steps, status="running", name="Blocks"):
        document = {"name": name, "steps": list(steps)}
        made = create_workflow(workspace=workspace, document=document, user=users["editor"])
        run = start(made, values={})
        WorkflowExecution.objects.filter(pk=run.pk).update(status=status, wake_at=None)
        return run

    return make


def row(run, name, status="completed", *, revision=1, step_type="task", **columns):
    now = timezone.now()
    ended = status in ("completed", "failed", "skipped", "cancelled", "timeout")
    return WorkflowStepExecution(
        id=step_execution_id(run.pk, name, revision),
        execution=run,
        name=name,
        step_type=step_type,
        status=status,
        revision=revision,
        **{
            "attempts": 1,
            "started_at": now - timedelta(seconds=5),
            "completed_at": now if ended else None,
            **columns,
        },
    )


def add(*rows):
    return WorkflowStepExecution.objects.bulk_create(rows)


def url(run, query=""):
    return f"/executions/{run.pk}/{query}"


def tell(run, step, kind, *, ago=0.0, **data):
    event = EventDraft(
        kind,
        run.workspace_id,
        workflow_execution_id=run.pk,
        workflow_step_id=step.pk,
        data={"step": step.name, **data},
    )
    append_events([event], timezone.now() - timedelta(seconds=ago))


def bars(answer):
    """The bars of the timeline: of each its tone, where it begins, and how wide it is."""
    found = re.findall(r'<rect class="tone-(\w+)" x="([\d.]+)" width="([\d.]+)"', html(answer))
    return [(tone, float(x), float(width)) for tone, x, width in found]


class TestBlocks:
    def test_steps_inside_stand_below_their_block_with_a_count(self, viewer, run_of):
        run = run_of(block("checks", [task("lint"), task("test")]), task("ship", "checks"))
        add(
            row(run, "checks", "running", step_type="parallel"),
            row(run, "lint", parent="checks"),
        )
        answer = viewer.get(url(run))
        assert row_titles(answer) == ["checks", "lint", "test", "ship"]
        words = text(answer)
        assert "checks parallel, 1 of 2 done Running" in words
        assert "lint in checks task Completed" in words
        assert "1 of 3 steps done" in words

    def test_a_step_of_a_sequential_block_comes_after_the_one_before_it(self, viewer, run_of):
        run = run_of(block("release", [task("tag"), task("push")], kind="sequential"))
        assert "push in release task, after tag Pending" in text(viewer.get(url(run)))

    def test_a_mapped_block_shows_its_items_as_many_as_its_input_has(self, viewer, run_of):
        run = run_of(block("checks", [task("check")], for_each="${['a', 'b', 'c']}"))
        items = {"for_each": ["a", "b", "c"]}
        add(
            row(run, "checks", "running", step_type="parallel", input_data=items),
            row(run, "check[0]", parent="checks"),
        )
        answer = viewer.get(url(run))
        assert row_titles(answer) == ["checks", "check[0]", "check[1]", "check[2]"]
        assert "checks parallel, 1 of 3 done" in text(answer)

    def test_blocks_inside_repeating_blocks_keep_their_positions(self, viewer, run_of):
        inner = block("shards", [task("index")], for_each=[1, 2])
        run = run_of(block("regions", [inner], for_each=["eu", "us"]))
        add(
            row(run, "regions", step_type="parallel"),
            row(run, "shards[1]", step_type="parallel", parent="regions"),
            row(run, "index[1][0]", parent="shards[1]"),
            row(run, "index[1][1]", "failed", parent="shards[1]", error_message="full"),
        )
        answer = viewer.get(url(run))
        assert row_titles(answer) == ["regions", "shards[1]", "index[1][0]", "index[1][1]"]
        assert "shards[1] in regions parallel, 2 of 2 done, 1 failed" in text(answer)

    def test_a_long_block_is_folded_but_shows_what_failed_and_what_is_chosen(self, viewer, run_of):
        run = run_of(block("checks", [task("check")], for_each="${[]}"))
        add(row(run, "checks", "running", step_type="parallel"))
        add(*(row(run, f"check[{i}]", parent="checks") for i in range(40) if i != 30))
        add(row(run, "check[30]", "failed", parent="checks", error_message="no disk"))
        answer = viewer.get(url(run, "?step=check[35]"))
        titles = row_titles(answer)
        assert titles == ["checks", *(f"check[{i}]" for i in [*range(7), 30, 35])]
        assert "Show all 40 steps of checks" in html(answer)

        whole = viewer.get(url(run, "?open=checks"))
        assert len(row_titles(whole)) == 41
        assert "Show fewer steps of checks" in html(whole)
        assert "open=checks" in re.search(r'href="([^"]*check%5B39%5D[^"]*)"', html(whole))[1]

    def test_steps_of_a_skipped_block_are_skipped_with_it(self, viewer, run_of):
        run = run_of(block("checks", [task("lint")]))
        reason = {"skip_reason": "upstream_failed", "started_at": None, "attempts": 0}
        add(row(run, "checks", "skipped", step_type="parallel", **reason))
        words = text(viewer.get(url(run)))
        assert "lint in checks task, its block was skipped Skipped" in words
        assert "1 of 1 steps done" in words

    def test_a_mapped_block_that_had_no_items_holds_nothing(self, viewer, run_of):
        inner = block("shards", [task("index")])
        empty = block("checks", [task("check"), inner], for_each="${[]}")
        run = run_of(empty, task("ship", "checks"))
        add(row(run, "checks", step_type="parallel", input_data={"for_each": []}))
        add(row(run, "ship"))
        ended = {"status": "completed", "completed_at": timezone.now()}
        WorkflowExecution.objects.filter(pk=run.pk).update(**ended)
        answer = viewer.get(url(run, "?step=checks"))
        assert row_titles(answer) == ["checks", "ship"]
        words = text(answer)
        assert "1 of 1 steps done" in words
        assert "checks parallel, no items Completed" in words
        assert "Inside no items" in words
        assert "Not started" not in words
        assert "<title>checks: × 0 no items</title>" in html(answer)

    def test_the_graph_draws_a_block_around_its_steps(self, viewer, run_of):
        run = run_of(task("a"), block("checks", [task("check")], "a", for_each="${[]}"))
        add(row(run, "checks", "running", step_type="parallel"))
        add(*(row(run, f"check[{i}]", parent="checks") for i in range(3)))
        page = html(viewer.get(url(run)))
        assert "<title>checks: × 3 3 of 3 done</title>" in page
        assert "<title>check: 3 of 3</title>" in page
        assert page.count('class="graph-block"') == 1

    def test_a_nested_step_can_be_chosen(self, viewer, run_of):
        run = run_of(block("checks", [task("check")], for_each="${[]}"))
        add(
            row(run, "checks", "running", step_type="parallel"),
            row(run, "check[0]", parent="checks", output_data={"found": "nothing"}),
        )
        page = html(viewer.get(url(run, "?step=check[0]")))
        assert "&quot;found&quot;: &quot;nothing&quot;" in page
        assert "<dt>Stands in</dt><dd>checks</dd>" in page


class TestReasons:
    def test_a_branch_that_was_not_taken_is_named(self, viewer, run_of):
        condition = {
            "name": "is_large",
            "step_type": "condition",
            "condition_expression": "false",
            "config": {"branches": {"true": ["review"], "false": ["ship"]}},
        }
        run = run_of(condition, task("review", "is_large"), task("ship", "is_large"))
        taken = {"result": False, "branch": "false"}
        add(
            row(run, "is_large", step_type="condition", output_data=taken),
            row(run, "review", "skipped", skip_reason="branch_not_taken", started_at=None),
        )
        page = html(viewer.get(url(run)))
        assert "condition, branch “false”" in page
        assert "branch “true” of is_large was not taken" in page
        labels = re.findall(r'<text class="graph-value"[^>]*>(\w+)</text>', page)
        assert sorted(labels) == ["false", "true"]

    def test_a_fallback_is_said(self, viewer, run_of):
        run = run_of(task("fetch", config={"fallback": {"output": {"rows": []}}}))
        add(row(run, "fetch", is_fallback=True, attempts=3))
        page = html(viewer.get(url(run, "?step=fetch")))
        assert "task, ended by its fallback" in page
        assert "the output that its definition names was taken" in page

    def test_a_wait_says_until_when_and_a_sub_workflow_leads_to_its_run(
        self, viewer, run_of, workflow
    ):
        child_step = {"name": "sub", "step_type": "workflow", "config": {"workflow": "Deploy"}}
        child_step["config"]["inputs"] = {"task_description": "x"}
        pause = {"name": "pause", "step_type": "wait", "config": {"seconds": 3600}}
        run, child = run_of(pause, child_step), run_of(task("inner"), name="Inner")
        due = timezone.now() + timedelta(hours=1)
        _, step = add(
            row(run, "pause", "waiting", step_type="wait", due_at=due),
            row(run, "sub", "running", step_type="workflow"),
        )
        WorkflowExecution.objects.filter(pk=child.pk).update(parent_step_id=step.pk)
        page = html(viewer.get(url(run)))
        assert "wait, goes on <time" in page
        assert f'<a class="link" href="{url(child)}">Inner, run 1</a>' in page
        above = html(viewer.get(url(child)))
        assert f'<dt>Runs for</dt><dd><a href="{url(run)}">Blocks, run 1</a></dd>' in above

    def test_a_live_run_says_what_it_waits_for(self, viewer, run_of):
        run = run_of({"name": "go", "step_type": "wait", "config": {"event": "go_live"}})
        add(row(run, "go", "waiting", step_type="wait"))
        assert "go waits for the signal “go_live”." in html(viewer.get(url(run)))
        ended = {"status": "completed", "completed_at": timezone.now()}
        WorkflowExecution.objects.filter(pk=run.pk).update(**ended)
        assert "What it waits for" not in html(viewer.get(url(run)))

    def test_an_event_is_called_what_its_name_brought_from_the_run(self, viewer, run_of):
        run = run_of(
            {"name": "go", "step_type": "wait", "config": {"event": "go-${execution.started_by}"}}
        )
        add(row(run, "go", "waiting", step_type="wait", input_data={"event": "go-7"}))
        page = html(viewer.get(url(run)))
        assert "go waits for the signal “go-7”." in page
        assert "for the event go-7" in page

    def test_a_paused_run_is_shown_as_paused(self, viewer, run_of):
        run = run_of(task("a"), status="waiting")
        WorkflowExecution.objects.filter(pk=run.pk).update(is_paused=True)
        head = html(viewer.get(url(run), headers={"X-MGX-Region": "head"}))
        assert "Paused</span>" in head


class TestAttempts:
    def test_each_attempt_is_told_with_its_error(self, viewer, run_of):
        run = run_of(task("fetch"))
        [step] = add(row(run, "fetch", "failed", attempts=2, error_message="still down"))
        tell(run, step, EventType.STEP_STARTED, attempt=1)
        error = {"error_code": "http_503", "error_message": "the registry is down"}
        tell(run, step, EventType.STEP_RETRYING, attempt=1, **error)
        tell(run, step, EventType.STEP_STARTED, attempt=2)
        tell(run, step, EventType.STEP_FAILED, attempt=2, error_code="http_502")
        words = text(viewer.get(url(run, "?step=fetch&view=attempts")))
        assert re.search("Attempt 2 Failed .* http_502: still down", words)
        assert re.search("Attempt 1 Failed .* http_503: the registry is down", words)

    def test_the_last_attempt_before_a_fallbacks_output_had_failed(self, viewer, run_of):
        run = run_of(task("fetch", config={"fallback": {"output": {"rows": []}}}))
        error = {"error_code": "http_503", "error_message": "the registry is down"}
        [step] = add(row(run, "fetch", is_fallback=True, **error))
        tell(run, step, EventType.STEP_STARTED, attempt=1)
        tell(run, step, EventType.STEP_COMPLETED, attempt=1)
        words = text(viewer.get(url(run, "?step=fetch&view=attempts")))
        assert re.search("Attempt 1 Failed .* http_503: the registry is down", words)

    def test_an_abandoned_attempt_ended_when_the_next_began(self, viewer, run_of):
        run = run_of(task("fetch"))
        [step] = add(row(run, "fetch"))
        tell(run, step, EventType.STEP_STARTED, attempt=1, ago=90_000)
        tell(run, step, EventType.STEP_STARTED, attempt=1, ago=89_993)
        words = text(viewer.get(url(run, "?step=fetch&view=attempts")))
        assert re.search(r"Attempt 1 Abandoned [\d:]+ , 7 s", words)

    def test_the_timeline_keeps_the_time_of_attempts_that_failed(self, viewer, run_of):
        run = run_of(task("fetch"))
        [step] = add(row(run, "fetch", attempts=2))
        tell(run, step, EventType.STEP_STARTED, attempt=1, ago=605)
        tell(run, step, EventType.STEP_RETRYING, attempt=1, ago=305)
        tell(run, step, EventType.STEP_STARTED, attempt=2, ago=5)
        answer = viewer.get(url(run))
        (failed, x, width), (completed, after, _) = bars(answer)
        assert (failed, completed) == ("failed", "completed")
        assert (x, width) == (0, pytest.approx(AXIS * 300 / 605, abs=0.1))
        assert after == pytest.approx(118.5, abs=0.6)
        assert "0 to 10 min" in text(answer)
        assert "The timeline shortens waits" not in html(answer)

    def test_the_timeline_keeps_the_time_of_attempts_that_were_abandoned(self, viewer, run_of):
        run = run_of(task("fetch"), task("store", "fetch"))
        started_at = timezone.now() - timedelta(seconds=50)
        step, _ = add(row(run, "fetch", started_at=started_at), row(run, "store", "running"))
        tell(run, step, EventType.STEP_STARTED, attempt=1, ago=100)
        tell(run, step, EventType.STEP_STARTED, attempt=1, ago=50)
        tell(run, step, EventType.STEP_COMPLETED, attempt=1)
        (abandoned, x, width), (completed, after, _), _ = bars(viewer.get(url(run)))
        assert (abandoned, completed) == ("neutral", "completed")
        assert (x, width, after) == (0, *[pytest.approx(AXIS / 2, abs=0.2)] * 2)

    def test_the_timeline_shortens_the_wait_of_an_attempt_that_asked_people(self, viewer, run_of):
        run = run_of(task("fetch"))
        [step] = add(row(run, "fetch", attempts=2))
        tell(run, step, EventType.STEP_STARTED, attempt=1, ago=3_700)
        tell(run, step, EventType.APPROVAL_REQUIRED, ago=3_605)
        tell(run, step, EventType.STEP_STARTED, attempt=2, ago=5)
        answer = viewer.get(url(run))
        assert "The timeline shortens waits" in html(answer)
        assert [tone for tone, _, _ in bars(answer)] == ["completed", "waiting", "completed"]
        assert [width for _, _, width in bars(answer)] == pytest.approx(
            [AXIS * share / 108 for share in (95, 8, 5)], abs=0.2
        )

    def test_waiting_for_another_run_is_shortened_on_the_timeline(self, viewer, run_of):
        child = {"name": "sub", "step_type": "workflow", "config": {"workflow": "Inner"}}
        run_of(task("inner"), name="Inner")
        run = run_of(task("fetch"), {**child, "depends_on_steps": ["fetch"]})
        hour_ago = timezone.now() - timedelta(hours=1)
        add(
            row(run, "fetch", started_at=hour_ago, completed_at=hour_ago + timedelta(seconds=5)),
            row(run, "sub", "waiting", step_type="workflow", started_at=hour_ago),
        )
        assert "The timeline shortens waits" in html(viewer.get(url(run)))

    def test_an_earlier_revision_can_be_looked_at(self, viewer, run_of):
        run = run_of(task("fetch"))
        add(
            row(run, "fetch", "failed", error_message="no network", output_data=None),
            row(run, "fetch", revision=2, output_data={"rows": 7}),
        )
        latest = html(viewer.get(url(run, "?step=fetch")))
        assert "&quot;rows&quot;: 7" in latest
        assert "step=fetch&amp;revision=1#step" in latest
        earlier = html(viewer.get(url(run, "?step=fetch&revision=1"))).partition('id="step"')[2]
        assert "no network" in earlier
        assert "&quot;rows&quot;: 7" not in earlier

    @pytest.mark.parametrize("query", ["?step=fetch&revision=9", "?step=fetch&view=x", "?open=x"])
    def test_nonsense_is_ignored(self, viewer, run_of, query):
        run = run_of(task("fetch"))
        add(row(run, "fetch"))
        assert viewer.get(url(run, query)).status_code == 200


class TestWaitedForPeople:
    @pytest.fixture
    def asked(self):
        """Return a function that notes when requests of a run began and ended, seconds ago."""

        def make(run, *spans):
            now = timezone.now()
            for since, until in spans:
                responded_at = None if until is None else now - timedelta(seconds=until)
                WorkflowStepApproval.objects.create(
                    workspace_id=run.workspace_id,
                    workflow_execution=run,
                    title="May I?",
                    status="pending" if until is None else "approved",
                    requested_at=now - timedelta(seconds=since),
                    responded_at=responded_at,
                )

        return make

    def test_time_in_which_several_were_asked_counts_once(self, viewer, run_of, asked):
        run = run_of(task("act"))
        asked(run, (7_200, 3_600), (7_200, 5_400), (5_400, 3_000), (600, None), (300, 300))
        words = text(viewer.get(url(run)))
        assert "Waited for people 1 h 20 min" in words

    def test_nobody_was_asked(self, viewer, run_of):
        assert "Waited for people 0 s" in text(viewer.get(url(run_of(task("act")))))


class TestLargeRuns:
    def test_a_thousand_items_take_as_many_queries_as_ten(self, viewer, run_of):
        counts = []
        for size in (10, 1_000):
            run = run_of(
                block("checks", [task("check")], for_each="${[]}"), name=f"Blocks of {size}"
            )
            add(row(run, "checks", "running", step_type="parallel"))
            add(*(row(run, f"check[{i}]", parent="checks", attempts=2) for i in range(size)))
            viewer.get(url(run))
            with CaptureQueriesContext(connection) as queries:
                answer = viewer.get(url(run, "?open=checks&step=check[3]"))
            counts.append(len(queries))
            assert len(answer.content) < 800_000
        assert counts[0] == counts[1]

    def test_a_graph_of_too_many_steps_counts_levels(self, viewer, run_of):
        steps = [task(f"s{i}", *([f"s{i - 5}"] if i >= 5 else [])) for i in range(400)]
        run = run_of(*steps)
        add(*(row(run, f"s{i}") for i in range(100)))
        page = html(viewer.get(url(run), headers={"X-MGX-Region": "graph"}))
        assert "400 steps are too many for a picture" in page
        assert "Levels 1–4: 20 of 20." in page
        assert page.count("graph-node") < 30


class TestGatesInsideBlocks:
    @pytest.fixture
    def ask_inside(self, run_of, users):
        """Return a function that opens the request of a nested gate: ``ask_inside("gate", …)``."""

        def make(gate, *steps):
            run = run_of(*steps)
            [step] = add(row(run, gate, "waiting", step_type="approval", parent="gates"))
            request = Request(
                workspace_id=run.workspace_id,
                title="Inside",
                execution_id=run.pk,
                step_execution_id=step.pk,
                requested_by_id=users["operator"].pk,
                required_approvers=["user123"],
            )
            with transaction.atomic():
                return open_requests([request], timezone.now())[0]

        return make

    GATE = {"name": "gate", "step_type": "approval", "config": {}}

    def test_the_step_after_it_in_its_block_is_told(self, client_for, ask_inside):
        inside = block("gates", [self.GATE, task("publish", "gate")], for_each=["a", "b"])
        approval = ask_inside("gate[1]", inside, task("last", "gates"))
        page = html(client_for("approver").get(f"/approvals/{approval.pk}/"))
        assert "<code>publish</code> starts at once" in page
        assert "<title>gates:" in page

    def test_with_none_after_it_what_comes_after_the_block_is_told(self, client_for, ask_inside):
        approval = ask_inside("gate", block("gates", [self.GATE]), task("last", "gates"))
        page = html(client_for("approver").get(f"/approvals/{approval.pk}/"))
        assert "<code>last</code> starts once the other steps before it have ended." in page
