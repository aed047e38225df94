"""A remote sound. Off unless its host was allowed; never from a private address, never where a redirect leads.

The host's name is looked up once, every address of it has to be public, and the connection goes to the address that was
checked: a name that answers differently a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from urllib.parse import urlsplit

import httpx2

from auricle.server.failures import ApiError
from auricle.server.settings import Settings

CONNECT_S, TOTAL_S = 5.0, 20.0


def fetch(url: str, name: str, settings: Settings) -> bytes:
    """The bytes of a file.

    Raises:
        ApiError: 400 for an address that may not be asked, 413 for a file that is too large, 422 when it doesn't come.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ApiError(400, f"{name} is no address ({error}): use https://HOST/PATH", param=name) from error
    if parts.scheme not in ("http", "https") or not host:
        raise ApiError(
            400, f"{name} must be a data URL, or begin with https://: no other address is opened", param=name
        )
    if not settings.audio_hosts:
        raise ApiError(400, f"{name}: this server opens no addresses; send the sound itself as input_audio", param=name)
    if host.lower() not in {allowed.lower() for allowed in settings.audio_hosts}:
        raise ApiError(
            400, f"{name}: this server opens no addresses on {host}; send the sound as input_audio", param=name
        )
    if parts.username or parts.password:
        raise ApiError(400, f"{name} has a user or password in it: leave them out", param=name)
    port = port or (443 if parts.scheme == "https" else 80)
    address = public_address(host, port, name)
    netloc = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    pinned = parts._replace(netloc=netloc, fragment="").geturl()
    return _get(pinned, parts.netloc, host, name, settings.max_request_bytes)


def public_address(host: str, port: int, name: str) -> str:
    """One address of a host, all of whose addresses are public."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise ApiError(422, f"{name}: {host} can't be found ({error}): check the address", param=name) from error
    for address in found:
        if not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise ApiError(400, f"{name}: {host} has a private address, and none of those is opened", param=name)
    return min(found)


def _get(url: str, host_header: str, host: str, name: str, limit: int) -> bytes:
    deadline = time.monotonic() + TOTAL_S
    try:
        with (
            httpx2.Client(follow_redirects=False, timeout=CONNECT_S, trust_env=False) as client,
            client.stream("GET", url, headers={"host": host_header}, extensions={"sni_hostname": host}) as response,
        ):
            if response.status_code != 200:
                raise ApiError(422, f"{name}: {host} answered {response.status_code}, not 200 with a file", param=name)
            content = bytearray()
            for block in response.iter_bytes(65536):
                content += block
                if len(content) > limit:
                    raise ApiError(413, f"{name} is larger than {limit:,} bytes: send a shorter sound", param=name)
                if time.monotonic() > deadline:
                    raise ApiError(422, f"{name} did not come within {TOTAL_S:g} s: send it yourself", param=name)
            return bytes(content)
    except httpx2.HTTPError as error:
        raise ApiError(
            422, f"{name} can't be fetched from {host} ({type(error).__name__}): send it yourself", param=name
        ) from error
