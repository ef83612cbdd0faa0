"""An MCP server (Model Context Protocol): the door of agents outside, ``manage.py mcp``.

It asks the REST API in its own process, so that roles, scopes, checks, errors, audit and
idempotency are those of REST. No tool of it decides: an agent asks, waits, and carries out what
was decided.

Written by hand rather than with the ``mcp`` package: of the protocol five requests are needed, for
which the package would bring 20 others (70 MB on the disk, with cryptography and a second httpx),
57 MB of memory and half a second at the start. The tests hold this server to that package's client.
"""
