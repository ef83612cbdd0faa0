"""The project's settings, with the tasks of the ledger."""

from mgx.settings import *  # noqa: F403
from mgx.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.process.ledger"]
