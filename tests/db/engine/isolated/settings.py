"""The product's settings, with the tasks of this app."""

from mgx.settings import *  # noqa: F403
from mgx.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.db.engine.isolated"]
