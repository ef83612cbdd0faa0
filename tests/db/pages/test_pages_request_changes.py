"""What changed since the revision that the reader last saw, and what the agent says it answers."""

import pytest
from django.utils import timezone

from approvals.models import Door, SeenApproval, WorkflowStepApproval
from approvals.pages.changes import Changes
from approvals.services.decisions import Decision, decide
from tests.pages import html, text

pytestmark = pytest.mark.django_db


def url(approval):
    return f"/approvals/{approval.pk}/"


@pytest.fixture
def revise(ask, users):
    """Return a function that makes the next revision: ``revise(before, data, feedback)``."""

    def make(before, data, feedback="Canary first, please."):
        sent_back = Decision(before.pk, "request_changes", feedback)
        decide(sent_back, user=users["admin"], door=Door.PAGE)
        after = ask(data=data)
        WorkflowStepApproval.objects.filter(pk=after.pk).update(
            parent_approval=before, revision_count=before.revision_count + 1
        )
        after.refresh_from_db()
        return after

    return make


@pytest.fixture
def three(ask, revise):
    """A request in its third revision, and the two before it."""
    first = ask(data={"plan": {"strategy": "all at once", "replicas": 6}})
    second = revise(first, {"plan": {"strategy": "canary", "replicas": 6}})
    third = revise(second, {"plan": {"strategy": "canary", "replicas": 9}}, "More replicas.")
    return [first, second, third]


def paths(changes):
    return [each.path for each in changes.differences]


class TestWhatItIsComparedWith:
    def test_the_revision_before_where_the_reader_has_seen_none(self, three, users):
        changes = Changes(three[2], users["approver"])
        assert changes.base == three[1]
        assert paths(changes) == ["plan › replicas"]
        assert changes.seen_at is None

    def test_the_last_one_that_this_person_saw(self, three, users):
        SeenApproval.objects.create(
            approval=three[0], user=users["approver"], seen_at=timezone.now()
        )
        SeenApproval.objects.create(approval=three[1], user=users["admin"], seen_at=timezone.now())
        changes = Changes(three[2], users["approver"])
        assert changes.base == three[0]
        assert sorted(paths(changes)) == ["plan › replicas", "plan › strategy"]
        assert [said.lines for said in changes.said] == [
            ("More replicas.",),
            ("Canary first, please.",),
        ]

    def test_opening_a_request_is_remembered(self, approver, three, users):
        for approval in (three[1], three[2], three[2]):
            approver.get(url(approval))
        seen = SeenApproval.objects.filter(user=users["approver"])
        assert set(seen.values_list("approval_id", flat=True)) == {three[1].pk, three[2].pk}
        words = text(approver.get(url(three[2])))
        assert "1 change since revision 2, which you saw today" in words

    def test_a_link_compares_with_another(self, approver, three):
        page = html(approver.get(url(three[2])))
        assert 'href="?compare=1#changes"' in page
        words = text(approver.get(f"{url(three[2])}?compare=1"))
        assert "2 changes since revision 1" in words
        assert approver.get(f"{url(three[2])}?compare=99").status_code == 200

    def test_a_first_one_is_compared_with_nothing(self, ask, users):
        changes = Changes(ask(), users["approver"])
        assert (changes.base, changes.differences, changes.said) == (None, [], [])

    def test_one_that_asks_the_same_again_is_no_revision(self, three, ask, users):
        again = ask(data=three[2].approval_data)
        WorkflowStepApproval.objects.filter(pk=again.pk).update(
            parent_approval=three[2], revision_count=2
        )
        again.refresh_from_db()
        assert Changes(again, users["approver"]).base == three[1]

    def test_an_earlier_one_leads_to_the_one_that_asks_now(self, approver, three):
        assert f'href="{url(three[1])}">Go to it' in html(approver.get(url(three[0])))


class TestWhatAnswersWhat:
    FEEDBACK = "Canary first, please.\nWho rolls back at night?"

    @pytest.fixture
    def answered(self, ask, revise):
        def make(answers, feedback=self.FEEDBACK):
            before = ask(data={"p": {"strategy": "all", "rollback": "manual", "replicas": 6}})
            after = {"strategy": "canary", "rollback": "automatic", "replicas": 9}
            return revise(before, {"p": {**after, "answers": answers}}, feedback)

        return make

    def beside(self, approval, user):
        return {
            answer.difference.path: [line for _, line in answer.said]
            for answer in Changes(approval, user).answers
        }

    @pytest.mark.parametrize(
        "answers",
        [
            [{"feedback": "Canary first, please.", "path": "strategy"}],
            [{"feedback": " canary FIRST,  please", "path": "/strategy"}],
            [{"feedback": "Canary first", "path": ["strategy", "nowhere"]}],
            {"strategy": "Canary first, please."},
        ],
    )
    def test_the_agents_claim_stands_beside_the_change(self, answered, users, answers):
        approval = answered(answers)
        assert self.beside(approval, users["approver"]) == {
            "p › strategy": ["Canary first, please."],
            "p › rollback": [],
            "p › replicas": [],
        }
        left = Changes(approval, users["approver"]).unanswered
        assert [line for _, line in left] == ["Who rolls back at night?"]

    def test_it_is_told_as_a_claim_and_the_other_changes_are_flagged(self, approver, answered):
        words = text(approver.get(url(answered({"strategy": "Canary first, please."}))))
        assert "The agent says: answered here" in words
        assert words.count("Not linked to any feedback") == 2
        assert "The agent names no change for: “Who rolls back at night?”" in words

    def test_words_that_nobody_wrote_are_not_put_into_anybodys_mouth(self, approver, answered):
        words = text(approver.get(url(answered({"strategy": "Approve everything."}))))
        assert "The agent says that this answers “Approve everything.”. Nobody wrote that." in words
        assert "The agent says: answered here" not in words

    def test_claims_that_are_none_change_nothing(self, approver, answered):
        for nonsense in (7, [7], [{"feedback": 7, "path": {}}], {"a": 7}, "x", None):
            words = text(approver.get(url(answered(nonsense))))
            assert "the agent does not say" in words

    def test_the_claims_are_no_change_themselves(self, answered, users):
        approval = answered([{"feedback": "Canary first", "path": "strategy"}])
        assert all("answers" not in path for path in paths(Changes(approval, users["approver"])))
