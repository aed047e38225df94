"""A remote sound. Off unless its host was allowed; never from a private address, never where a redirect leads.

The host's name is looked up once, every address of it has to be public, and the connection goes to the address that was
checked: a name that answers differently a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

import httpx2

from auricle.server.failures import ApiError
from auricle.server.settings import Settings

CONNECT_S, TOTAL_S = 5.0, 20.0
PORTS = {"http": 80, "https": 443}
# Addresses that carry another within them: where a network translates them, they lead to it. RFC 6052, RFC 3056.
NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def fetch(url: str, name: str, settings: Settings) -> bytes:
    """The bytes of a file.

    Raises:
        ApiError: 400 for an address that may not be asked, 413 for a file that is too large, 422 when it doesn't come.
    """
    parts, port = _checked(url, name, settings)
    host = str(parts.hostname)
    try:
        async with asyncio.timeout(TOTAL_S):
            address = await public_address(host, port, name)
            netloc = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            pinned = parts._replace(netloc=netloc, fragment="").geturl()
            return await _get(pinned, parts.netloc, host, name, settings.max_request_bytes)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ApiError(
            422, f"{name} can't be fetched from {host} ({type(error).__name__}): send it yourself", param=name
        ) from error
    except TimeoutError as error:
        raise ApiError(422, f"{name} did not come within {TOTAL_S:g} s: send it yourself", param=name) from error


def _checked(url: str, name: str, settings: Settings) -> tuple[SplitResult, int]:
    """The parts of an address that may be asked, and its port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ApiError(400, f"{name} is no address ({error}): use https://HOST/PATH", param=name) from error
    if parts.scheme not in PORTS or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ApiError(
            400,
            f"{name} must be a data URL, or begin with https:// and have no blanks: nothing else is opened",
            param=name,
        )
    if not settings.audio_hosts:
        raise ApiError(400, f"{name}: this server opens no addresses; send the sound itself as input_audio", param=name)
    if host not in {allowed.lower() for allowed in settings.audio_hosts}:
        raise ApiError(
            400, f"{name}: this server opens no addresses on {host}; send the sound as input_audio", param=name
        )
    if "@" in parts.netloc:
        raise ApiError(400, f"{name} has a user or password in it: leave them out", param=name)
    return parts, PORTS[parts.scheme] if port is None else port


async def public_address(host: str, port: int, name: str) -> str:
    """One address of a host, all of whose addresses are public."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ApiError(422, f"{name}: {host} can't be found: check the address", param=name) from error
    addresses = {str(info[4][0]) for info in found}
    if not all(is_public(address) for address in addresses):
        raise ApiError(400, f"{name}: {host} has a private address, and none of those is opened", param=name)
    return min(addresses)


def is_public(address: str) -> bool:
    """Whether an address is one of the open Internet, and so is what it may be translated to."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo and parsed.teredo[1])
        if parsed in NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


async def _get(url: str, host_header: str, host: str, name: str, limit: int) -> bytes:
    headers = {"host": host_header, "accept-encoding": "identity"}  # what is packed would be unpacked past the limit
    async with (
        httpx2.AsyncClient(follow_redirects=False, timeout=CONNECT_S, trust_env=False) as client,
        client.stream("GET", url, headers=headers, extensions={"sni_hostname": host}) as response,
    ):
        if response.status_code != 200:
            raise ApiError(422, f"{name}: {host} answered {response.status_code}, not 200 with a file", param=name)
        content = bytearray()
        async for block in response.aiter_raw():
            content += block
            if len(content) > limit:
                raise ApiError(413, f"{name} is larger than {limit:,} bytes: send a shorter sound", param=name)
        return bytes(content)
