"""Where the dashboard listens."""

from __future__ import annotations

import ipaddress
import socket

from nic_lightning.errors import UserError


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the port is taken, or the address is not this machine's.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"There is no port {port}; give one from 1 to 65535, or 0 for any that is free.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(128)
        except OSError:
            opened.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{host[:100]}:{port} cannot be used ({reason}); give another --port, or 0 for any.") from error
    return opened


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
