"""The manager: starts a server's process or connects to one, makes objects there."""

import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from phalanx import connection, process, util
from phalanx._base.errors import ProcessError
from phalanx._managers import protocol
from phalanx._managers.links import link_to
from phalanx._managers.proxy import AutoProxy, give_reference, proxy_types
from phalanx._managers.server import Registry, Server, listener_client
from phalanx._start import methods

__all__ = ["BaseManager", "State"]


class State:
    """Where a manager is in its life."""

    __slots__ = ("value",)
    INITIAL = 0
    STARTED = 1
    SHUTDOWN = 2

    def __init__(self) -> None:
        self.value = State.INITIAL


_REFUSALS = {State.STARTED: "Already started server", State.SHUTDOWN: "Manager has shut down"}


class BaseManager:
    """Shares objects between processes, also of other machines: they live in a server's process, others use proxies.

    `address` and `authkey` as in `Listener` (default: a free address, this process's key), `serializer` 'pickle' or
    'xmlrpclib', `ctx` a context for starting the server; `shutdown_timeout` in seconds, after which a server that has
    been asked to end gets SIGTERM, and after as long again SIGKILL.
    """

    __module__ = "phalanx.managers"

    _registry: ClassVar[Registry] = {}
    _Server: ClassVar[type[Server]] = Server

    shutdown: Callable[[], None]
    """End the server's process; there once `start` has been called. A second call does nothing."""

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
        *,
        shutdown_timeout: float = 1.0,
    ) -> None:
        self._address = address
        self._authkey = process.AuthenticationString(process.current_process().authkey if authkey is None else authkey)
        self._state = State()
        self._serializer = serializer
        self._Listener, self._Client = listener_client[serializer]
        self._ctx = ctx
        self._process: Any = None
        self._shutdown_timeout = shutdown_timeout

    def start(self, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()) -> None:
        """Start the server in a process of its own, which first calls `initializer(*initargs)`.

        ProcessError if that has happened before, TypeError for an initializer that cannot be called. What keeps the
        server from starting (OSError of the address, an error of the initializer) is raised here.
        """
        self._expect_initial()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        reader, writer = connection.Pipe(duplex=False)
        with reader:
            with writer:
                self._process = self._start_process(writer, initializer, tuple(initargs))
            self._address = self._read_address(reader)
        self._state.value = State.STARTED
        self.shutdown = util.Finalize(
            self,
            type(self)._finalize_manager,
            args=(self._process, self._address, self._authkey, self._serializer, self._state, self._shutdown_timeout),
            exitpriority=0,
        )

    def connect(self) -> None:
        """Connect to a server that runs already. OSError, AuthenticationError."""
        link_to(self._address, self._authkey, self._serializer).call_server("dummy")
        self._state.value = State.STARTED

    def get_server(self) -> Server:
        """A server to be run in this process with `serve_forever`. ProcessError if one has been started."""
        self._expect_initial()
        return self._Server(self._registry, self._address, self._authkey, self._serializer)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the server's process to end, `timeout` seconds at most."""
        if self._process is not None:
            self._process.join(timeout)
            if not self._process.is_alive():
                self._process = None

    @property
    def address(self) -> Any:
        """The server's address."""
        return self._address

    def __enter__(self) -> Self:
        if self._state.value == State.INITIAL:
            self.start()
        if self._state.value != State.STARTED:
            raise ProcessError(_REFUSALS.get(self._state.value, f"Unknown state {self._state.value!r}"))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.shutdown()

    @classmethod
    def register(
        cls,
        typeid: str,
        callable: Callable[..., Any] | None = None,
        proxytype: Any = None,
        exposed: Sequence[str] | None = None,
        method_to_typeid: Mapping[str, str] | None = None,
        create_method: bool = True,
    ) -> None:
        """Offer a type under the name `typeid`, in this class and those derived from it later.

        `callable` makes the object in the server (None: only for managers that connect); `proxytype` is a subclass of
        `BaseProxy` (default `AutoProxy`); `exposed` names the methods that may be called (default: the proxy type's
        `_exposed_`, else all public ones); `method_to_typeid` names the methods whose results stay in the server,
        behind a proxy of that type; with `create_method` the manager gets a method `typeid` that makes one.
        """
        if "_registry" not in cls.__dict__:
            cls._registry = cls._registry.copy()
        proxytype = proxytype or AutoProxy
        exposed = exposed or getattr(proxytype, "_exposed_", None)
        method_to_typeid = method_to_typeid or getattr(proxytype, "_method_to_typeid_", None)
        for name in (part for pair in (method_to_typeid or {}).items() for part in pair):
            assert isinstance(name, str), f"{name!r} is not a string"
        cls._registry[typeid] = (callable, exposed, method_to_typeid, proxytype)
        proxy_types[typeid] = proxytype
        if create_method:
            setattr(cls, typeid, _creator(typeid))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _create(self, typeid: str, /, *args: Any, **kwds: Any) -> tuple[protocol.Token, Sequence[str]]:
        """Make an object in the server; its token, with one reference that the caller owns, and its methods."""
        assert self._state.value == State.STARTED, "server not yet started"
        link = link_to(self._address, self._authkey, self._serializer)
        ident, exposed = link.call_server("create", typeid, *args, **kwds)
        return protocol.Token(typeid, self._address, ident), exposed

    def _number_of_objects(self) -> int:
        count: int = link_to(self._address, self._authkey, self._serializer).call_server("number_of_objects")
        return count

    def _debug_info(self) -> str:
        text: str = link_to(self._address, self._authkey, self._serializer).call_server("debug_info")
        return text

    def _expect_initial(self) -> None:
        if self._state.value != State.INITIAL:
            raise ProcessError(_REFUSALS.get(self._state.value, f"Unknown state {self._state.value!r}"))

    def _start_process(self, writer: Any, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> Any:
        address = self._address  # a free one is chosen here: the child need not load what that takes
        if address is None:
            address = connection.arbitrary_address(connection.default_family)
        server = (self._ctx or methods).Process(
            target=type(self)._run_server,
            args=(self._registry, address, self._authkey, self._serializer, writer, initializer, initargs),
        )
        ident = ":".join(str(number) for number in server._identity)
        server.name = f"{type(self).__name__}-{ident}"
        server.start()
        return server

    def _read_address(self, reader: Any) -> Any:
        error, address = reader.recv()
        if error is not None:
            self.join()
            raise error
        return address

    @classmethod
    def _run_server(
        cls,
        registry: Registry,
        address: Any,
        authkey: bytes,
        serializer: str,
        writer: Any,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        """The main function of a server's process: tell the address, or what went wrong, and serve."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the manager's owner decides when it ends
        with writer:
            try:
                if initializer is not None:
                    initializer(*initargs)
                server = cls._Server(registry, address, authkey, serializer)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is raised in the parent
                _send_start_error(writer, error)
                sys.exit(1)
            writer.send((None, server.address))
        util.info("manager serving at %r", server.address)
        server.serve_forever()

    @staticmethod
    def _finalize_manager(
        server: Any, address: Any, authkey: bytes, serializer: str, state: State, shutdown_timeout: float
    ) -> None:
        """End a server's process: ask it, then SIGTERM, then SIGKILL."""
        link = link_to(address, authkey, serializer)
        if server.is_alive():
            try:
                link.call_server("shutdown")
            except Exception as error:  # noqa: BLE001  # it will be ended by force
                util.info("manager did not answer the request to shut down: %r", error)
            for insist in (server.terminate, server.kill, None):
                server.join(timeout=shutdown_timeout)
                if not server.is_alive() or insist is None:
                    break
                util.info("manager still alive, calling %s", insist.__name__)
                insist()
        link.forget_connections()
        state.value = State.SHUTDOWN


def _send_start_error(writer: Any, error: Exception) -> None:
    try:
        writer.send((error, None))
    except OSError:
        pass
    except Exception:  # noqa: BLE001  # the error itself cannot be pickled
        writer.send((protocol.RemoteError(f"{error!r}\n"), None))


def _creator(typeid: str) -> Callable[..., Any]:
    def create(self: BaseManager, /, *args: Any, **kwds: Any) -> Any:
        token, exposed = self._create(typeid, *args, **kwds)
        return give_reference(self._registry[typeid][-1], token, self._serializer, self, self._authkey, exposed)

    create.__name__ = typeid
    create.__qualname__ = f"BaseManager.{typeid}"
    return create
