"""Roles and tokens."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.models import ApiToken, EventStream, Membership, Role
from workflows.services.access import (
    create_workspace,
    find_token,
    issue_token,
    require_role,
    revoke_token,
)

pytestmark = pytest.mark.django_db


class TestRoles:
    @pytest.mark.parametrize("needed", list(Role))
    @pytest.mark.parametrize("has", list(Role))
    def test_a_role_may_what_those_below_it_may(self, workspace, users, has, needed):
        if has.rank >= needed.rank:
            assert require_role(users[has], workspace.id, needed).role == has
        else:
            with pytest.raises(NotPermitted):
                require_role(users[has], workspace.id, needed)

    def test_another_workspace_is_not_visible(self, workspace, outsider):
        with pytest.raises(NotVisible):
            require_role(outsider, workspace.id, Role.VIEWER)

    def test_a_deactivated_member_loses_every_right_at_once(self, workspace, users):
        users["admin"].is_active = False
        users["admin"].save()
        with pytest.raises(NotVisible):
            require_role(users["admin"], workspace.id, Role.VIEWER)

    def test_a_demoted_member_loses_the_right_at_once(self, workspace, users):
        Membership.objects.filter(user=users["editor"]).update(role=Role.VIEWER)
        with pytest.raises(NotPermitted):
            require_role(users["editor"], workspace.id, Role.EDITOR)


class TestWorkspaces:
    def test_a_new_workspace_has_its_event_stream_and_its_admin(self, users):
        made = create_workspace(name="New", slug="new", admin=users["viewer"])
        assert EventStream.objects.get(workspace=made).last_seq == 0
        assert require_role(users["viewer"], made.id, Role.ADMIN)

    def test_a_slug_is_taken_once(self, workspace):
        with pytest.raises(Conflict) as refused:
            create_workspace(name="Again", slug=workspace.slug)
        assert refused.value.code == "slug_taken"


class TestTokens:
    def test_the_secret_finds_its_token_and_is_not_stored(self, users):
        token, secret = issue_token(users["viewer"], name="ci", scopes=["read"])
        assert secret.startswith("mgx_")
        assert len(secret) >= 47
        assert find_token(secret) == token
        row = ApiToken.objects.values().get()
        assert secret not in str(row)
        assert secret.startswith(row["prefix"])

    @pytest.mark.parametrize(
        "wrong", ["", "mgx_", "mgx_x", "Bearer", "mgx_" + "ü" * 43, "x" * 9999]
    )
    def test_nothing_else_does(self, users, wrong):
        issue_token(users["viewer"], name="ci", scopes=["read"])
        assert find_token(wrong) is None

    def test_a_revoked_token_is_none(self, users):
        token, secret = issue_token(users["viewer"], name="ci", scopes=["read"])
        revoke_token(token)
        first = token.revoked_at
        revoke_token(token)
        assert token.revoked_at == first
        assert find_token(secret) is None

    def test_an_expired_token_is_none(self, users):
        token, secret = issue_token(
            users["viewer"],
            name="ci",
            scopes=["read"],
            expires_at=timezone.now() + timedelta(hours=1),
        )
        assert find_token(secret) == token
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert find_token(secret) is None

    def test_the_token_of_a_deactivated_user_is_none(self, users):
        _, secret = issue_token(users["viewer"], name="ci", scopes=["read"])
        users["viewer"].is_active = False
        users["viewer"].save()
        assert find_token(secret) is None

    def test_its_use_is_noted_at_most_once_a_minute(self, users, django_assert_num_queries):
        _, secret = issue_token(users["viewer"], name="ci", scopes=["read"])
        with django_assert_num_queries(2):
            find_token(secret)
        with django_assert_num_queries(1):
            find_token(secret)
        with (
            time_machine.travel(timezone.now() + timedelta(seconds=61)),
            django_assert_num_queries(2),
        ):
            find_token(secret)

    @pytest.mark.parametrize(
        ("wrong", "pointer"),
        [
            ({"scopes": []}, "/scopes"),
            ({"scopes": ["read", "root"]}, "/scopes"),
            ({"name": " "}, "/name"),
            ({"name": "x" * 101}, "/name"),
            ({"expires_at": timezone.now() - timedelta(days=1)}, "/expires_at"),
        ],
    )
    def test_it_is_not_issued_with(self, users, wrong, pointer):
        with pytest.raises(InvalidInput) as refused:
            issue_token(users["viewer"], **{"name": "ci", "scopes": ["read"], **wrong})
        assert [problem.path for problem in refused.value.problems] == [pointer]
