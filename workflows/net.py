"""Where MGX may connect to on behalf of a definition: to addresses outside, never inside.

A name is judged twice. When it is saved, by what it says; when a connection is made, by what it
resolves to, and the connection goes to the very address that was judged (``transport.py``).
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from django.conf import settings

# Global unicast. What stands outside of it wraps an IPv4 address (mapped, NAT64), or is local.
_OUTSIDE = IPv6Network("2000::/3")
_TUNNELS = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))  # Teredo, 6to4
_RELAYS = IPv4Network("192.88.99.0/24")  # 6to4
_PORTS = {"http": 80, "https": 443}


class ForbiddenAddress(Exception):
    """MGX does not connect to this address; the message says why, without the rest of the URL."""

    code = "forbidden_address"


class UnknownHost(Exception):
    """The name of a host stands for no address."""

    code = "unknown_host"


def check_url(url: str) -> str:
    """Return ``url`` if, by what it says, a step may call it.

    Raises:
        ForbiddenAddress: it is none of http and https, carries a password, or its host or port is
            not to be connected to.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ForbiddenAddress("This is no URL") from None
    if parts.scheme not in _PORTS:
        raise ForbiddenAddress("A URL begins with https:// or http://")
    if not host or not url.isprintable() or "\\" in url or " " in url:
        raise ForbiddenAddress("This is no URL")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddress("A URL holds no user and no password; use a header")
    check_target(host, port or _PORTS[parts.scheme])
    return url


def origin_of(url: str) -> str:
    """Return as much of a URL as may be told: paths and queries may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def check_target(host: str, port: int) -> None:
    """Raise ForbiddenAddress if a host, by its name, and a port are not to be connected to."""
    if is_exempt(host, port):
        return
    if settings.MGX_HTTP_PORTS and port not in settings.MGX_HTTP_PORTS:
        raise ForbiddenAddress(f"Port {port} is not one to connect to here")
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        raise ForbiddenAddress(f"{host} is this machine")
    if (address := _literal(host)) and not is_outside(address):
        raise ForbiddenAddress(f"{host} is an internal address")


async def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses that a host may be connected at, in the order to try them.

    Raises:
        ForbiddenAddress: any of them is an internal one, or ``check_target`` forbids it.
        UnknownHost: there is none.
    """
    check_target(host, port)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnknownHost(f"There is no host {host}") from None
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in found))
    if not is_exempt(host, port) and not all(is_outside(a) for a in addresses):
        raise ForbiddenAddress(f"{host} is at an internal address")
    return addresses


def is_exempt(host: str, port: int) -> bool:
    """Tell whether ``MGX_ALLOWED_INTERNAL_HOSTS`` names a host, or the host with this port."""
    allowed = {name.lower() for name in settings.MGX_ALLOWED_INTERNAL_HOSTS}
    name = host.lower()
    return not allowed.isdisjoint({name, f"{name}:{port}", f"[{name}]:{port}"})


def is_outside(address: str) -> bool:
    """Tell whether an address belongs to the public internet.

    Loopback, private, link-local, shared, multicast and reserved ones do not; nor do IPv6
    addresses that stand for an IPv4 one.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip not in _OUTSIDE or any(ip in network for network in _TUNNELS):
            return False
    elif ip in _RELAYS:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_private)


def _literal(host: str) -> str | None:
    """Return the address that ``host`` writes out, in any of the forms that resolvers take."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001, 017700000001, 2130706433
        return str(IPv4Address(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return None
