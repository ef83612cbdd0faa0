"""HTTP to addresses outside: an httpx client that connects only where ``net`` allows it."""

from functools import cache
from ssl import SSLContext

import httpx

from workflows.net import addresses_of

_PORTS = {"http": 80, "https": 443}


def guarded_client(timeout_seconds: float) -> httpx.AsyncClient:
    """Return a client for requests that a definition or a setting asks for.

    It follows no redirects and takes nothing from the environment: no proxy, no credentials.
    What it raises besides httpx's own are ``ForbiddenAddress`` and ``UnknownHost``.
    """
    return httpx.AsyncClient(
        transport=GuardedTransport(),
        timeout=timeout_seconds,
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": "MGX", "Accept-Encoding": "identity"},
    )


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves the host itself and connects to the addresses that were judged.

    A name that resolves to another address a moment later changes nothing. The Host header and
    the name that the certificate is checked for stay the URL's own.
    """

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=_certificates(), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        port = request.url.port or _PORTS[request.url.scheme]
        addresses = await addresses_of(host, port)
        request.extensions = {**request.extensions, "sni_hostname": host}
        url = request.url
        for address in addresses[:-1]:
            request.url = url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except httpx.ConnectError:
                continue
        request.url = url.copy_with(host=addresses[-1])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _certificates() -> SSLContext:
    return httpx.create_ssl_context()
