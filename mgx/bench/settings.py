"""The project's settings, with the tasks that only benchmarks use."""

from mgx.settings import *  # noqa: F403
from mgx.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "mgx.bench"]
