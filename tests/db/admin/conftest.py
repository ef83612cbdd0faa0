"""Clients of the admin: staff of each role, a superuser, staff of another workspace."""

import pytest
from django.test import Client

from workflows.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(autouse=True)
def uncollected_static_files(settings):
    """Name static files where they are: nobody has run collectstatic for a test."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def signed_in(user):
    client = Client()
    client.force_login(user, BACKEND)
    return client


@pytest.fixture
def staff(users):
    """Return a function from a role to a signed-in client of a member of staff with it."""

    def client(role):
        User.objects.filter(pk=users[role].pk).update(is_staff=True)
        return signed_in(users[role])

    return client


@pytest.fixture
def superuser(db):
    """A superuser who is a member of no workspace."""
    return signed_in(User.objects.create_superuser("root", "root@example.org"))


@pytest.fixture
def stranger(outsider):
    """A member of staff who is an admin of another workspace."""
    User.objects.filter(pk=outsider.pk).update(is_staff=True)
    return signed_in(outsider)
