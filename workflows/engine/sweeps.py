"""What the apps look after every few seconds (``settings.ENGINE_SWEEPS``), beside the turns."""

import logging

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils.module_loading import import_string

logger = logging.getLogger("workflows.engine")


def sweep() -> None:
    """Call each function; one that fails is called again next time, and holds up nothing."""
    for path in settings.ENGINE_SWEEPS:
        try:
            import_string(path)()
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("%s failed", path)
