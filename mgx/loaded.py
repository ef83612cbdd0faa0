"""What a web process has loaded when it begins to serve."""

import gc
from importlib import import_module

from django.conf import settings


def load_and_keep() -> None:
    """Load every page and route, and take all that is loaded out of garbage collections.

    It lives as long as the process. Walking all of it would stop every request for a tenth of a
    second each time.
    """
    import_module(settings.ROOT_URLCONF)
    gc.collect()
    gc.freeze()
