"""Secrets and signatures of webhooks (standardwebhooks.com)."""

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime

_RANDOM_BYTES = 32


def new_secret() -> str:
    """Return a secret as receivers' libraries take it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()


def sign(keys: Iterable[str], *, message_id: str, moment: datetime, body: str) -> str:
    """Return the header ``webhook-signature``: one signature for each of ``keys``."""
    from standardwebhooks.webhooks import Webhook  # most processes never sign anything

    return " ".join(Webhook(key).sign(message_id, moment, body) for key in keys)
