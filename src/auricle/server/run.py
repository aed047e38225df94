"""Running the server: one process, or several behind one port that map the same weights."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable

from auricle.errors import InputError
from auricle.server import log
from auricle.server.settings import Settings

WAITING = 256  # connections that may wait to be taken in
STOPPED, INTERRUPTED = 0, 130  # exit statuses: after all was answered; after a second Ctrl-C


def serve(settings: Settings, *, host: str, port: int, workers: int = 1, listening: Callable[[], None]) -> None:
    """Serves until SIGTERM or Ctrl-C; answers under way are finished first, for `settings.shutdown_s` at most.

    Args:
        listening: called when the address is ours.

    Raises:
        InputError: the address can't be listened on, or the model can't be loaded.
        AuricleError: the model can't be loaded, through no fault of whoever named it.
        KeyboardInterrupt: a second Ctrl-C has cut what was under way.
    """
    log.set_up(settings.log)
    sockets = listen(host, port)
    listening()
    if workers > 1:
        from auricle.server.workers import Workers

        Workers(settings, sockets, workers).run()
    else:
        from auricle.server.process import Process  # only here: the parent of several stays small without it

        process = Process(settings, sockets)
        process.serve_until_stopped()
        if process.computing:
            leave(INTERRUPTED if process.force_exit else STOPPED)
        if process.force_exit:
            raise KeyboardInterrupt


def leave(status: int) -> None:
    """Ends this process though threads are computing still, for which Python's own end would wait."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


def listen(host: str, port: int) -> list[socket.socket]:
    """A socket that listens for each address of a host: `localhost` has two.

    Raises:
        InputError: the host has no address here, or the port is taken or not for this user.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_listen(family, address))
            except OSError as error:
                # A name may have an address of a kind that this machine lacks, as ::1 in many containers.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(found) == 1:
                    raise
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        for listening in sockets:
            listening.close()
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{host}:{port} can't be listened on ({why}): {_advice(error)}") from error
    return sockets


def _listen(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")  # :: is every address
        listening.bind(address)
        listening.listen(WAITING)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _advice(error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "another program has that port; end it, or choose another --port"
        case errno.EACCES:
            return "ports below 1024 are for root; choose a --port from 1024 on"
    return "choose another --host; 127.0.0.1 is this machine alone, 0.0.0.0 lets others in"
