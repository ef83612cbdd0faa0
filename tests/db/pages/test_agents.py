"""The pages of agents: the list with its figures, one agent, and why each was chosen."""

from datetime import UTC, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.masking import MASK, without_secrets
from agents.models import (
    AgentBudgetAnswer,
    AgentHandoff,
    AgentInstance,
    AgentReservation,
    AgentUsage,
    AgentWait,
)
from agents.pages.performance import PERIODS, Course, Part, Performance, Performances
from agents.pages.spending import days_of, money, short
from tests.pages import html, row_titles, text
from workflows.core.ids import uuid7
from workflows.models import Membership
from workflows.pages.reader import SESSION_KEY

pytestmark = pytest.mark.django_db

WHY = {
    "strategy": "capability_match",
    "candidates": {"planner": {"score": 0.94, "load": 1}, "executor": {"score": 0.81, "load": 0}},
    "refused": {"spare": "it lacks plan"},
}


@pytest.fixture
def hold(agents):
    """Return a function by which an agent holds a place, or held one for so many seconds."""

    def make(
        agent="planner", *, took=None, outcome="completed", ago=60, of=None, reason=None, attempt=1
    ):
        agent = agents[agent] if isinstance(agent, str) else agent
        reserved_at = timezone.now() - timedelta(seconds=ago)
        released_at = None if took is None else reserved_at + timedelta(seconds=took)
        return AgentReservation.objects.create(
            workspace=agent.workspace,
            agent_instance=agent,
            step_execution_id=of.pk if of else uuid7(),
            attempt=attempt,
            reason=reason or {},
            reserved_at=reserved_at,
            expires_at=reserved_at + timedelta(days=1),
            released_at=released_at,
            outcome="" if took is None else outcome,
        )

    return make


@pytest.fixture
def another(workspace, agents):
    """Return a function that adds an agent with the planner's definition."""

    def add(name, **columns):
        return AgentInstance.objects.create(
            workspace=workspace,
            definition=agents["planner"].definition,
            name=name,
            slug=name.lower(),
            **columns,
        )

    return add


def url(agent):
    return f"/agents/{agent.pk}/"


class TestFigures:
    def test_they_count_what_the_places_came_to(self, client_for, hold):
        for seconds in range(1, 21):
            hold(took=seconds)
        hold("executor", took=100, outcome="failed")
        hold("executor")
        words = text(client_for("viewer").get("/agents/"))
        assert "2 agents in Acme, 1 of 2 places in use." in words
        assert "Busy now 1 of 2 agents Steps in progress 1 Steps waiting 0" in words
        assert "Success, 24 h 95.2 % 1 of 21 failed" in words
        assert "Median time 11 s 95 % in 20 s" in words

    def test_the_period_is_chosen_in_the_address(self, client_for, hold):
        hold(took=1)
        hold(took=1, outcome="failed", ago=3 * 86_400)
        viewer = client_for("viewer")
        assert "Success, 24 h 100 % 0 of 1 failed" in text(viewer.get("/agents/"))
        words = text(viewer.get("/agents/?period=week"))
        assert "Success, 7 days 50.0 % 1 of 2 failed" in words
        assert "Success, 24 h 100 %" in text(viewer.get("/agents/?period=century"))

    def test_another_workspaces_are_not_counted(
        self, client_for, agents, make_agents, other_workspace, hold
    ):
        foreign = make_agents(other_workspace)["planner"]
        hold(foreign, took=1)
        hold(foreign)
        words = text(client_for("viewer").get("/agents/"))
        assert "2 agents in Acme, 0 of 2 places in use." in words
        assert "Success, 24 h — Median time" in words

    def test_steps_that_wait_and_the_limit_are_told(self, client_for, workspace, agents, hold):
        workspace.settings = {"max_agent_steps": 20}
        workspace.save()
        hold()
        now = timezone.now()
        planner = [str(agents["planner"].pk)]
        for age in (0, 0, 60):
            AgentWait.objects.create(
                id=uuid7(),
                workspace=workspace,
                agents=planner,
                since=now - timedelta(seconds=90),
                asked_at=now - timedelta(seconds=age),
            )
        words = text(client_for("viewer").get("/agents/"))
        assert "Steps in progress 1 of 20 allowed Steps waiting 2" in words
        assert "Busy full, 2 steps wait 1 of 1" in words

    def test_what_is_wrong_needs_attention(self, client_for, another):
        another("Broken", status="error", last_error="503 from https://a:b@host/?token=abc")
        words = text(client_for("viewer").get("/agents/"))
        assert "1 needs attention." in words
        assert f"503 from https://{MASK}@host/?token={MASK}" in words

    def test_one_that_fails_has_a_single_place_until_it_is_back(self, client_for, agents):
        later = timezone.now() + timedelta(minutes=5)
        of_planner = AgentInstance.objects.filter(pk=agents["planner"].pk)
        of_planner.update(
            status="error", faults=1, max_concurrency=4, probe_at=later, last_error="No route"
        )
        viewer = client_for("viewer")
        words = text(viewer.get("/agents/"))
        assert "Error No route tried again in 5 min 0 of 1" in words
        assert "It failed: No route" in text(viewer.get(url(agents["planner"])))
        of_planner.update(status="idle", faults=0, probe_at=None)
        assert "No route" not in text(viewer.get("/agents/"))
        words = text(viewer.get(url(agents["planner"])))
        assert "Its last failure, before it came back: No route" in words

    def test_percentiles_are_those_of_the_nearest_rank(self, workspace, hold, agents):
        for seconds in (4, 1, 3, 2):
            hold(took=seconds)
        hold("executor", took=9, outcome="failed")
        asked = Performances(workspace.pk, PERIODS["day"], timezone.now())
        did = asked.of_each()[agents["planner"].pk]
        assert (did.finished, did.failed) == (4, 0)
        assert (round(did.median, 3), round(did.p95, 3)) == (2, 4)
        assert asked.together().failed == 1

    def test_a_course_has_a_part_for_each_hour(self, workspace, hold, agents):
        hold(took=1, ago=10)
        hold(took=1, ago=30, outcome="failed")
        hold(took=1, ago=5 * 3_600 + 60)
        asked = Performances(workspace.pk, PERIODS["day"], timezone.now(), agents["planner"].pk)
        course = asked.courses()[agents["planner"].pk]
        assert (course.total, course.busiest, len(course.parts)) == (3, 2, 24)
        assert course.parts[23] == Part(1, 1)
        assert course.parts[18] == Part(1, 0)

    def test_bars_stand_on_each_other(self):
        bars = list(Course((Part(1, 1), Part(0, 0))).bars())
        assert [(bar.y, bar.height, bar.tone) for bar in bars] == [
            (10, 10, "completed"),
            (0, 10, "failed"),
        ]

    @pytest.mark.parametrize(
        ("finished", "failed", "words"),
        [(0, 0, "—"), (4, 0, "100 %"), (4, 4, "0 %"), (1_000_000, 1, "99.9 %"), (3, 1, "66.6 %")],
    )
    def test_a_share_is_never_rounded_up(self, finished, failed, words):
        assert Performance(finished, failed).success == words


class TestList:
    def test_agents_stand_by_name(self, client_for, agents):
        answer = client_for("viewer").get("/agents/")
        assert row_titles(answer) == ["Executor", "Planner"]
        assert 'aria-current="page"' in html(answer)

    def test_words_find_them(self, client_for, another):
        another("Second")
        viewer = client_for("viewer")
        assert row_titles(viewer.get("/agents/?q=sec")) == ["Second"]
        assert row_titles(viewer.get("/agents/?q=planner")) == ["Planner", "Second"]
        assert "No agent matches" in html(viewer.get("/agents/?q=zebra"))
        assert viewer.get("/agents/", {"q": "\0", "definition": "\0"}).status_code == 200

    def test_one_is_busy_while_it_holds_a_place(self, client_for, agents, hold, another):
        AgentInstance.objects.filter(pk=agents["executor"].pk).update(status="busy")
        another("Gone", status="offline")
        another("Off", is_enabled=False)
        hold("planner")
        hold("executor", took=1)
        viewer = client_for("viewer")
        assert row_titles(viewer.get("/agents/?status=busy")) == ["Planner"]
        assert row_titles(viewer.get("/agents/?status=idle")) == ["Executor"]
        assert row_titles(viewer.get("/agents/?status=offline")) == ["Gone"]
        assert row_titles(viewer.get("/agents/?status=disabled")) == ["Off"]

    def test_a_definition_narrows_it(self, client_for, agents):
        answer = client_for("viewer").get("/agents/?definition=planner_agent_id")
        assert row_titles(answer) == ["Planner"]

    def test_a_workspace_without_agents_says_what_comes(self, client_for):
        assert "There is no agent yet" in html(client_for("viewer").get("/agents/"))

    def test_only_those_who_edit_are_led_to_the_admin(self, client_for, users, agents):
        users["editor"].is_staff = True
        users["editor"].save()
        assert "Add agent" in html(client_for("editor").get("/agents/"))
        assert "Add agent" not in html(client_for("viewer").get("/agents/"))

    def test_a_region_comes_alone(self, client_for, agents):
        headers = {"X-MGX-Region": "instances,figures"}
        answer = html(client_for("viewer").get("/agents/", headers=headers))
        assert 'data-live-region="instances"' in answer
        assert "<html" not in answer

    def test_queries_do_not_grow_with_the_agents(self, client_for, hold, another):
        viewer = client_for("viewer")
        hold(took=1, reason=WHY)
        viewer.get("/agents/")
        before = count_queries(viewer, "/agents/")
        for number in range(20):
            hold(another(f"More-{number}"), took=1, reason=WHY)
        assert count_queries(viewer, "/agents/") == before
        assert before < 20


def count_queries(client, address):
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    return len(queries)


class TestWhy:
    def test_candidates_and_refusals_are_told(self, client_for, hold, start, add_step, another):
        another("spare")
        run = start()
        step = add_step(run, "generate_plan", "running")
        hold(of=step, reason=WHY)
        words = text(client_for("viewer").get("/agents/"))
        assert "Planner took generate_plan" in words
        assert "strategy: best match" in words
        assert "Deploy, run 1 , attempt 1" in words
        assert "planner 0.94 Chosen, 1 place taken then" in words
        assert "executor 0.81 Eligible, 0 places taken then" in words
        assert "spare — Refused: it lacks plan" in words

    def test_no_agent_of_another_workspace_is_named(self, client_for, hold, make_agents):
        reason = {**WHY, "refused": {"foreign-agent": "it belongs to another workspace"}}
        hold(reason=reason)
        assert "foreign-agent" not in html(client_for("viewer").get("/agents/"))

    @pytest.mark.parametrize("reason", [{}, {"candidates": [1], "refused": "x"}, {"strategy": 1}])
    def test_an_odd_reason_breaks_nothing(self, client_for, hold, agents, reason):
        hold(reason=reason)
        answer = client_for("viewer").get(url(agents["planner"]))
        assert "No reason was kept." in html(answer)

    def test_who_failed_before_is_told(self, client_for, hold, agents):
        hold("executor", took=1, outcome="moved")
        hold("planner", reason={**WHY, "takes_over_from": ["executor"]})
        viewer = client_for("viewer")
        assert "It took over from executor ." in text(viewer.get(url(agents["planner"])))
        words = text(viewer.get(url(agents["executor"])))
        assert "It failed, and another agent took over." in words
        assert "Failures, 24 h 1 of 1" in words

    def test_the_chosen_ones_stand_alone(self, client_for, hold, agents):
        hold("planner", reason=WHY)
        hold("executor", reason=WHY)
        answer = client_for("viewer").get(f"/agents/?agent={agents['planner'].pk}")
        words = text(answer)
        assert "Why Planner" in words
        assert "Executor took" not in words
        assert "Memory of Planner" in words

    def test_a_chosen_one_of_another_workspace_is_none(
        self, client_for, agents, make_agents, other_workspace
    ):
        foreign = make_agents(other_workspace)["planner"]
        answer = client_for("viewer").get(f"/agents/?agent={foreign.pk}")
        assert "Memory of" not in text(answer)


class TestAgent:
    def test_it_says_how_the_agent_stands_and_did(self, client_for, agents, hold):
        hold(took=8)
        hold()
        words = text(client_for("viewer").get(url(agents["planner"])))
        assert "Planner Busy" in words
        assert "Places taken 1 of 1 Success, 24 h 100 % Failures, 24 h 0 of 1" in words
        assert "1 step ended in the last 24 h, at most 1 in an hour." in words

    def test_its_steps_lead_to_their_runs(self, client_for, agents, hold, start, add_step):
        run = start()
        hold(of=add_step(run, "generate_plan", "failed"), took=3, outcome="failed", attempt=2)
        hold(took=3)
        answer = client_for("viewer").get(url(agents["planner"]))
        assert f'href="/executions/{run.pk}/?step=generate_plan"' in html(answer)
        assert "3 s, attempt 2" in text(answer)
        assert "A step of a run that is no longer kept" in text(answer)

    def test_its_configuration_hides_secrets(self, client_for, agents):
        agent = agents["planner"]
        agent.config = {"api_key": "hunter2", "model": "small"}
        agent.save()
        page = html(client_for("admin").get(url(agent)))
        assert "hunter2" not in page
        assert "small" in page

    def test_handoffs_tell_where_they_came_from(self, client_for, agents, another, workspace):
        third = another("Third")
        now = timezone.now()
        first = AgentHandoff.objects.create(
            workspace=workspace,
            from_agent=third,
            to_agent=agents["executor"],
            context_keys=["facts"],
            created_at=now - timedelta(minutes=2),
        )
        second = AgentHandoff.objects.create(
            workspace=workspace,
            from_agent=agents["executor"],
            to_agent=agents["planner"],
            context={"goal": "Deploy it"},
            context_keys=["facts", "plan"],
            parent=first,
            hops=2,
            created_at=now - timedelta(minutes=1),
        )
        AgentHandoff.objects.create(
            workspace=workspace,
            from_agent=agents["planner"],
            to_agent=third,
            parent=second,
            hops=3,
            created_at=now,
        )
        words = text(client_for("viewer").get(url(agents["planner"])))
        assert "Given to Third" in words
        assert "Before that: Third → Executor → Planner" in words
        assert "Taken from Executor" in words
        assert "Keys: goal, facts, plan" in words

    def test_it_turns_to_the_agents_workspace(self, client_for, users, agents, make_workspace):
        second = make_workspace("beta")
        Membership.objects.create(workspace=second, user=users["viewer"], role="viewer")
        viewer = client_for("viewer")
        viewer.get("/agents/?workspace=beta")
        assert viewer.get(url(agents["planner"])).status_code == 200
        assert viewer.session[SESSION_KEY] == "acme"


class TestStepOfARun:
    def test_it_tells_why_this_agent_and_who_failed_before(
        self, client_for, hold, agents, start, add_step, another
    ):
        another("spare")
        run = start()
        planner = agents["planner"]
        step = add_step(run, "generate_plan", "running", attempts=2, agent_instance_id=planner.pk)
        hold("executor", of=step, took=1, outcome="moved")
        hold(of=step, attempt=2, reason={**WHY, "takes_over_from": ["executor"]})
        answer = client_for("viewer").get(f"/executions/{run.pk}/?step=generate_plan")
        words = text(answer)
        assert "Agent chosen by best match, planner (1 taken, score 0.94)" in words
        assert "Chosen over executor (0 taken, score 0.81)" in words
        assert "Refused spare: it lacks plan" in words
        assert "Took over from executor" in words
        assert f'href="{url(planner)}"' in html(answer)

    def test_a_step_without_a_reservation_says_nothing(self, client_for, start, add_step):
        run = start()
        add_step(run, "generate_plan", "running")
        answer = client_for("viewer").get(f"/executions/{run.pk}/?step=generate_plan")
        assert answer.status_code == 200
        assert "Agent chosen by" not in text(answer)


class TestSecrets:
    @pytest.mark.parametrize(
        "config",
        [
            {"api_key": "x"},
            {"apiKey": "x"},
            {"OPENAI_API_KEY": "x"},
            {"headers": {"Authorization": "x"}},
            {"auth": {"password": {"value": "x"}}},
            {"tokens": ["x"]},
            {"pin_secret": 4711},
            {"list": [{"client_secret": "x"}]},
        ],
    )
    def test_a_name_gives_it_away(self, config):
        assert '"x"' not in str(without_secrets(config)).replace("'", '"')
        assert "4711" not in str(without_secrets(config))
        assert MASK in str(without_secrets(config))

    @pytest.mark.parametrize(
        "value",
        [
            "sk-abcdefghijklmnop",
            "Use sk-abcdefghijklmnop for it",
            "Bearer abcdefghijkl",
            "https://user:hidden@host/",
            "https://host/?a=1&access_token=hidden",
            "-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----",
            "0123456789abcdef0123456789abcdef",
            "eyJhbGciOiJIUzI1NiJ9.hidden.hidden",
            'I was told {"password": "hid\\"den hidden"}',
            'It was cut off: {"api_key": "hidden',
        ],
    )
    def test_its_look_gives_it_away(self, value):
        shown = without_secrets({"note": value})["note"]
        assert MASK in shown
        assert "hidden" not in shown
        assert "abcdef" not in shown

    def test_what_agents_are_sent_from_the_environment(self, settings, monkeypatch):
        settings.MGX_AGENT_SECRETS = ["SERVICE_SECRET@agents.example"]
        monkeypatch.setenv("SERVICE_SECRET", "open sesame\n")
        assert without_secrets(["I say: open sesame!"]) == [f"I say: {MASK}!"]

    def test_everything_else_stays(self):
        plain = {
            "model": "gpt-4o-mini",
            "max_tokens": 2_000,
            "is_secret": True,
            "base_url": "https://llm.example/v1",
            "definition": "0190f000-0000-7000-8000-00000000feed",
            "instructions": "Plan the release in stages, and say what each one costs.",
            "token": "",
            "nested": [1, 2.5, None],
        }
        assert without_secrets(plain) == plain


class TestSpending:
    @pytest.fixture
    def spend(self, agents, hold):
        """Return a function by which an agent has taken a step and used tokens."""

        def make(agent="planner", *, told, said=0, cost=0, ago=60):
            place = hold(agent, took=1, ago=ago)
            place.input_tokens, place.output_tokens, place.cost_micros = told, said, cost
            place.save()
            day = (timezone.now() - timedelta(seconds=ago)).astimezone(UTC).date()
            AgentUsage.objects.create(
                workspace=place.workspace,
                agent_instance=place.agent_instance,
                day=day,
                steps=1,
                failures=1,
                input_tokens=told,
                output_tokens=said,
                cost_micros=cost,
            )

        return make

    def test_the_list_tells_what_agents_spent(self, client_for, spend):
        spend(told=1_200_000, said=34_567, cost=3_345_670)
        spend("executor", told=900)
        words = text(client_for("viewer").get("/agents/"))
        assert "Tokens, 24 h 1.23 M cost 3.34" in words
        assert "1.23 M tokens · cost 3.34" in words
        assert "900 tokens" in words
        assert "Budget" not in words

    def test_the_list_tells_how_the_budget_stands(self, client_for, workspace, spend):
        workspace.settings = {"monthly_agent_tokens": 2_000_000, "monthly_agent_cost": 3}
        workspace.save()
        spend(told=1_000_000, cost=2_000_000, ago=0)
        now = timezone.now()
        month = f"{now.astimezone(UTC):%B}"
        words = text(client_for("viewer").get("/agents/"))
        assert f"Budget, {month} 1 M of 2 M tokens 2.00 of 3.00" in words
        assert "used up" not in words
        AgentReservation.objects.filter(tokens_reserved=0).update(
            tokens_reserved=1_000_000, released_at=None
        )
        words = text(client_for("viewer").get("/agents/"))
        assert "2 M of 2 M tokens 2.00 of 3.00 used up" in words
        AgentBudgetAnswer.objects.create(
            workspace=workspace,
            month=now.astimezone(UTC).date().replace(day=1),
            step_execution_id=uuid7(),
            asked_at=now,
            answered_at=now,
            tokens=500_000,
        )
        words = text(client_for("viewer").get("/agents/"))
        assert "2 M of 2.5 M tokens 2.00 of 3.00" in words
        assert "used up" not in words

    def test_an_agents_page_has_its_last_days(self, client_for, agents, spend):
        spend(told=3_000, said=500, cost=12_500)
        spend(told=70, ago=40 * 86_400)
        words = text(client_for("viewer").get(url(agents["planner"])))
        assert "Tokens, 24 h 3.5 k cost 0.02" not in words, "a cost is never rounded up"
        assert "Tokens, 24 h 3.5 k cost 0.01" in words
        assert "1 step, 1 failed" in words
        assert "3.5 k tokens: 3 k in , 500 out ; cost 0.01. At most 3.5 k in a day." in words
        assert "The last 30 days" not in text(client_for("viewer").get(url(agents["executor"])))

    def test_days_that_nothing_ended_on_are_there_and_empty(self, agents, spend):
        spend(told=10, ago=86_400)
        days = days_of(agents["planner"].pk, timezone.now())
        assert [day.spent.tokens for day in days.days] == [0] * 28 + [10, 0]
        assert [day.steps for day in days.told] == [1]
        [bar] = days.token_bars()
        assert (round(bar.x), bar.y, bar.height) == (28, 0, 20)

    @pytest.mark.parametrize(
        ("count", "words"),
        [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u00a0k"),
            (12_345, "12.3\u00a0k"),
            (999_999, "999\u00a0k"),
            (1_999_999, "1.99\u00a0M"),
            (5_000_000_000, "5\u00a0G"),
        ],
    )
    def test_a_count_is_short_and_never_rounded_up(self, count, words):
        assert short(count) == words

    @pytest.mark.parametrize(
        ("micros", "words"),
        [(0, "0.00"), (13, "0.000013"), (2_500, "0.0025"), (23_060_000, "23.06"),
         (1_234_567_890_000, "1,234,567.89")],
    )  # fmt: skip
    def test_a_small_cost_is_not_nothing(self, micros, words):
        assert money(micros) == words
