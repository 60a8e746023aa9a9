"""Addresses of listeners: which family one belongs to, and one that nobody uses yet."""

import os
import socket
from typing import Any

from phalanx import util

__all__ = ["address_type", "arbitrary_address", "default_family", "families", "validate_family"]

default_family = "AF_UNIX"
families = ["AF_INET", "AF_UNIX"]

_NAME_RANDOM_BYTES = 8


def arbitrary_address(family: str) -> Any:
    """A free address of that family. ValueError for a family that has none."""
    if family == "AF_INET":
        return ("localhost", 0)
    if family == "AF_UNIX":
        return os.path.join(util.get_temp_dir(), "listener-" + os.urandom(_NAME_RANDOM_BYTES).hex())
    raise ValueError("unrecognized family")


def validate_family(family: str) -> None:
    """ValueError for a family that this platform does not have."""
    if family == "AF_PIPE" or not hasattr(socket, family):
        raise ValueError(f"Family {family} is not recognized.")


def address_type(address: Any) -> str:
    """The family of an address: 'AF_INET', 'AF_UNIX' or 'AF_PIPE'. ValueError for anything else."""
    if isinstance(address, tuple):
        return "AF_INET"
    if isinstance(address, str) and address.startswith("\\\\"):
        return "AF_PIPE"
    if isinstance(address, str) or util.is_abstract_socket_namespace(address):
        return "AF_UNIX"
    raise ValueError(f"address type of {address!r} unrecognized")
