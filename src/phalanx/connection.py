"""Messages between two processes: pipes inside a tree of processes, listeners and clients between strangers."""

import socket

from phalanx._base.errors import AuthenticationError as AuthenticationError
from phalanx._base.errors import BufferTooShort as BufferTooShort
from phalanx._connection.addresses import address_type as address_type
from phalanx._connection.addresses import arbitrary_address as arbitrary_address
from phalanx._connection.addresses import default_family as default_family
from phalanx._connection.addresses import families as families
from phalanx._connection.authentication import CHALLENGE as CHALLENGE
from phalanx._connection.authentication import CHALLENGE as _CHALLENGE  # noqa: F401  # reached for by programs
from phalanx._connection.authentication import FAILURE as FAILURE
from phalanx._connection.authentication import FAILURE as _FAILURE  # noqa: F401
from phalanx._connection.authentication import WELCOME as WELCOME
from phalanx._connection.authentication import WELCOME as _WELCOME  # noqa: F401
from phalanx._connection.authentication import answer_challenge as answer_challenge
from phalanx._connection.authentication import create_response as _create_response  # noqa: F401
from phalanx._connection.authentication import deliver_challenge as deliver_challenge
from phalanx._connection.authentication import verify_response as _verify_challenge  # noqa: F401
from phalanx._connection.listening import Client as Client
from phalanx._connection.listening import ConnectionWrapper as ConnectionWrapper
from phalanx._connection.listening import Listener as Listener
from phalanx._connection.listening import SocketClient as SocketClient
from phalanx._connection.listening import SocketListener as SocketListener
from phalanx._connection.listening import XmlClient as XmlClient
from phalanx._connection.listening import XmlListener as XmlListener
from phalanx._connection.stream import Connection as Connection
from phalanx._connection.stream import rebuild_connection as rebuild_connection
from phalanx._connection.stream import reduce_connection as reduce_connection
from phalanx._connection.waiting import wait as wait

__all__ = ["Client", "Listener", "Pipe", "wait"]


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected `Connection` objects; with `duplex=False` the first only receives and the second only sends.

    Both are for processes of this tree. OSError, MemoryError.
    """
    first, second = (sock.detach() for sock in socket.socketpair())
    ends = Connection(first, writable=duplex), Connection(second, readable=duplex)
    ends[0]._attach_pair(ends[1], duplex)
    return ends
