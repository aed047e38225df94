"""A server: its address, the model on it, and the official client, imported late."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from auricle.backends.openai.line import follow
from auricle.errors import InputError, OptionError
from auricle.hub import ModelName
from auricle.types import Remote

EXTRA = 'pip install "auricle[openai]"'
CONNECT_S = 10.0
_LIST_S = 10.0  # for the list of models, which is only of use in a message


@dataclass(frozen=True)
class Server:
    """Where a model is asked."""

    model: str
    url: str
    client: Any  # openai.OpenAI
    timeout: float  # seconds, of one attempt
    retries: int
    connect_s: float = CONNECT_S

    def models(self) -> list[str] | None:
        """What the server calls its models; None when it does not say."""
        import openai

        try:
            listed = self.client.with_options(timeout=_LIST_S).models.list().data
        except (openai.OpenAIError, ValueError):  # it has no list, or one that is no JSON
            return None
        names = [getattr(model, "id", None) for model in listed] if isinstance(listed, list) else []
        return [name for name in names if isinstance(name, str)]


def open_server(model: ModelName, remote: Remote) -> Server:
    """Names the server; nothing is sent yet.

    Raises:
        InputError: the client is not installed.
        OptionError: no address was given: without one, the client would send every sound to OpenAI's own.
    """
    if importlib.util.find_spec("openai") is None:
        raise InputError(f"openai:{model.name} needs the openai library, which is not installed: {EXTRA}")
    url = remote.base_url or os.environ.get("OPENAI_BASE_URL", "").strip()
    if not url:
        raise OptionError(
            f"openai:{model.name} needs the address of its server: give --base-url, such as http://localhost:8000/v1, "
            "or set OPENAI_BASE_URL"
        )
    remote = Remote(url, remote.timeout, remote.retries)  # checks an address of the environment, too
    url = url.rstrip("/")
    return Server(model.name, url, _client(url), remote.timeout, remote.retries)


def _client(url: str) -> Any:
    import openai

    key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"
    if not key.isascii() or not key.isprintable():
        raise OptionError("OPENAI_API_KEY has characters that no key has: set it to the server's key")
    try:
        http = openai.DefaultHttpxClient(
            # A server that sends a request on would send the sound to an address that nobody named.
            follow_redirects=False,
            event_hooks={"request": [follow]},
        )
    except (ImportError, OSError, ValueError) as error:  # of the environment: proxies, certificates
        raise InputError(
            f"no HTTP connection can be set up ({' '.join(str(error).split())}): check HTTP_PROXY, HTTPS_PROXY, "
            "ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from error
    # Its own retries know neither a request's deadline nor that it was given up.
    headers = {"Connection": "close"}  # see line.py
    return openai.OpenAI(api_key=key, base_url=url, http_client=http, max_retries=0, default_headers=headers)
