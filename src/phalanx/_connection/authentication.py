"""The handshake of a listener and its client: each proves to the other that it has the key, without sending it.

A challenge is `#CHALLENGE#{digest}` and random bytes; the answer is `{digest}` and the HMAC of everything behind
`#CHALLENGE#`; the verdict is `#WELCOME#` or `#FAILURE#`. Peers of the stdlib up to 3.11 know only md5 and no prefix:
their challenge is 20 bytes long, their answer 16. Nothing is unpickled before both sides are satisfied.
"""

import hmac
import os
from typing import Protocol

from phalanx._base.errors import AuthenticationError

__all__ = [
    "CHALLENGE",
    "FAILURE",
    "WELCOME",
    "answer_challenge",
    "create_response",
    "deliver_challenge",
    "verify_response",
]

CHALLENGE = b"#CHALLENGE#"
WELCOME = b"#WELCOME#"
FAILURE = b"#FAILURE#"

_RANDOM_BYTES = 40
_MESSAGE_MAX_BYTES = 256
_LEGACY_DIGEST = "md5"
_LEGACY_CHALLENGE_BYTES = 20
_LEGACY_RESPONSE_BYTES = 16
_DIGESTS = frozenset({"md5", "sha256", "sha384", "sha3_256", "sha3_384"})
_DIGEST_NAME_MAX_BYTES = 8


class Messenger(Protocol):
    """What a handshake needs of a connection."""

    def send_bytes(self, buf: bytes, /) -> None: ...
    def recv_bytes(self, maxlength: int, /) -> bytes: ...


def deliver_challenge(connection: Messenger, authkey: bytes, digest_name: str = "sha256") -> None:
    """Ask the other side to prove that it has the key. AuthenticationError if it does not."""
    _check_key(authkey)
    challenge = b"{%s}%s" % (digest_name.encode("ascii"), os.urandom(_RANDOM_BYTES))
    connection.send_bytes(CHALLENGE + challenge)
    response = connection.recv_bytes(_MESSAGE_MAX_BYTES)
    try:
        verify_response(authkey, challenge, response)
    except AuthenticationError:
        connection.send_bytes(FAILURE)
        raise
    connection.send_bytes(WELCOME)


def answer_challenge(connection: Messenger, authkey: bytes) -> None:
    """Prove to the other side that this one has the key. AuthenticationError if it is not satisfied."""
    _check_key(authkey)
    message = connection.recv_bytes(_MESSAGE_MAX_BYTES)
    if not message.startswith(CHALLENGE):
        raise AuthenticationError(f"Protocol error, expected challenge: {message=}")
    challenge = message[len(CHALLENGE) :]
    if len(challenge) < _LEGACY_CHALLENGE_BYTES:
        raise AuthenticationError(f"challenge too short: {len(challenge)} bytes")
    connection.send_bytes(create_response(authkey, challenge))
    if connection.recv_bytes(_MESSAGE_MAX_BYTES) != WELCOME:
        raise AuthenticationError("digest sent was rejected")


def create_response(authkey: bytes, message: bytes) -> bytes:
    """The answer to a challenge, in the digest that it names; without a name, as peers up to 3.11 expect it."""
    name, _ = _split_digest(message)
    mac = hmac.digest(authkey, message, name or _LEGACY_DIGEST)
    return b"{%s}%s" % (name.encode("ascii"), mac) if name else mac


def verify_response(authkey: bytes, message: bytes, response: bytes) -> None:
    """AuthenticationError unless `response` answers the challenge `message`."""
    name, mac = _split_digest(response)
    expected = hmac.digest(authkey, message, name or _LEGACY_DIGEST)
    if len(expected) != len(mac):
        raise AuthenticationError(f"expected {name or _LEGACY_DIGEST!r} of length {len(expected)} got {len(mac)}")
    if not hmac.compare_digest(expected, mac):
        raise AuthenticationError("digest received was wrong")


def _split_digest(message: bytes) -> tuple[str, bytes]:
    """The digest's name in front of a message, '' for a legacy one, and what follows."""
    if len(message) in (_LEGACY_CHALLENGE_BYTES, _LEGACY_RESPONSE_BYTES):
        return "", message
    end = message.find(b"}", 1, _DIGEST_NAME_MAX_BYTES + 2)
    if message.startswith(b"{") and end > 0:
        name = message[1:end].decode("ascii", "replace")
        if name in _DIGESTS:
            return name, message[end + 1 :]
    raise AuthenticationError(f"unsupported message length, missing digest prefix, or unsupported digest: {message=}")


def _check_key(authkey: object) -> None:
    if not isinstance(authkey, bytes):
        raise ValueError(f"Authkey must be bytes, not {type(authkey)!s}")  # noqa: TRY004  # what the stdlib raises
