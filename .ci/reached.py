"""Fail unless PostgreSQL and Redis answer, where TEST_POSTGRES_URL and TEST_REDIS_URL say."""

import os
import socket
import sys
from urllib.parse import urlsplit

import psycopg


def ask_postgresql(url: str) -> None:
    with psycopg.connect(url, connect_timeout=5) as connection:
        connection.execute("SELECT 1")


def ask_redis(url: str) -> None:
    address = urlsplit(url)
    place = (address.hostname, address.port or 6379)
    with socket.create_connection(place, timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        # With a password set the answer is an error, and also one of a living Redis.
        if connection.recv(16)[:1] not in (b"+", b"-"):
            raise OSError("the answer is none of Redis")


def main() -> int:
    failures = 0
    for name, ask in (("TEST_POSTGRES_URL", ask_postgresql), ("TEST_REDIS_URL", ask_redis)):
        try:
            ask(os.environ[name])
        except (OSError, psycopg.Error) as error:
            sys.stderr.write(f"{name} is not reached: {error}\n")
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
