"""The handshake of a listener and its client: each proves to the other that it has the key, without sending it.

A challenge is `#CHALLENGE#{digest}` and random bytes; the answer is `{digest}` and the HMAC of everything behind
`#CHALLENGE#`; the verdict is `#WELCOME#` or `#FAILURE#`. Peers of the stdlib up to 3.11 know only md5 and no prefix:
their challenge is 20 bytes long, their answer 16. Nothing is unpickled before both sides are satisfied.

The random bytes of a `Listener`'s or `Client`'s challenge end with a mark that only a process of the same tree, with
the same key, can tell from random: so both know, without a word more, that they may go on over a pipe of the arena.
"""

import hmac
import os
from typing import Protocol

from phalanx import _native
from phalanx._base.errors import AuthenticationError

__all__ = [
    "CHALLENGE",
    "FAILURE",
    "WELCOME",
    "answer_challenge",
    "answer_peer",
    "challenge_peer",
    "create_response",
    "deliver_challenge",
    "verify_response",
]

CHALLENGE = b"#CHALLENGE#"
WELCOME = b"#WELCOME#"
FAILURE = b"#FAILURE#"

_RANDOM_BYTES = 40
_SLOT_BYTES = 4
_MARK_BYTES = 16
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
    _deliver(connection, authkey, digest_name, os.urandom(_RANDOM_BYTES))


def answer_challenge(connection: Messenger, authkey: bytes) -> None:
    """Prove to the other side that this one has the key. AuthenticationError if it is not satisfied."""
    answer_peer(connection, authkey)


def challenge_peer(connection: Messenger, authkey: bytes) -> None:
    """`deliver_challenge`, with the mark of this process's tree."""
    _deliver(connection, authkey, "sha256", _marked_bytes(authkey))


def answer_peer(connection: Messenger, authkey: bytes) -> int:
    """`answer_challenge`; the other side's slot if its challenge had the mark of this process's tree, else 0."""
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
    return _slot_of_marked(challenge[-_RANDOM_BYTES:], authkey)


def _deliver(connection: Messenger, authkey: bytes, digest_name: str, random: bytes) -> None:
    _check_key(authkey)
    challenge = b"{%s}%s" % (digest_name.encode("ascii"), random)
    connection.send_bytes(CHALLENGE + challenge)
    response = connection.recv_bytes(_MESSAGE_MAX_BYTES)
    try:
        verify_response(authkey, challenge, response)
    except AuthenticationError:
        connection.send_bytes(FAILURE)
        raise
    connection.send_bytes(WELCOME)


def _marked_bytes(authkey: bytes) -> bytes:
    if not _native.arena_is_open():
        return os.urandom(_RANDOM_BYTES)
    front = os.urandom(_RANDOM_BYTES - _SLOT_BYTES - _MARK_BYTES) + _native.slot_self().to_bytes(_SLOT_BYTES, "big")
    return front + _mark(front, authkey)


def _slot_of_marked(random: bytes, authkey: bytes) -> int:
    if len(random) != _RANDOM_BYTES or not _native.arena_is_open():
        return 0
    front, mark = random[:-_MARK_BYTES], random[-_MARK_BYTES:]
    return int.from_bytes(front[-_SLOT_BYTES:], "big") if hmac.compare_digest(mark, _mark(front, authkey)) else 0


def _mark(front: bytes, authkey: bytes) -> bytes:
    return hmac.digest(authkey, b"phalanx %x " % _native.arena_id() + front, "sha256")[:_MARK_BYTES]


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
