"""The project's settings, with the tasks of the ledger."""

from mgx.settings import *  # noqa: F403
from mgx.settings import INSTALLED_APPS, MGX_VAR
from tests.process.ledger.deaths import listen

INSTALLED_APPS = [*INSTALLED_APPS, "tests.process.ledger"]
listen(MGX_VAR)
