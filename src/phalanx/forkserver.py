"""The fork server as its clients see it: started at first use, asked for children, started again when found dead."""

from __future__ import annotations

import os
import pickle
import sys
import threading

from phalanx import _native, spawn, util
from phalanx._base import child_setup, interpreter, lifelines, limits
from phalanx._base.signals import plain as signal
from phalanx._start import handover, requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

__all__ = ["connect_to_new_process", "ensure_running", "get_inherited_fds", "set_forkserver_preload"]

# What a child needs to unpickle the usual arguments: loaded by the server if the program has loaded it by then.
_WARM_MODULES = (
    "phalanx._start.methods",
    "phalanx.connection",
    "phalanx.queues",
    "phalanx.reduction",
    "phalanx.synchronize",
)

_ON_ERROR = ("ignore", "warn", "fail")

_STARTS_MAX_COUNT = 2  # a server that has died is replaced once for a request; if that one dies too, it is no accident


class ForkServer:
    """This process's view of the server. Forked children, and those of the server, share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._preload_modules: list[str] = ["__main__"]
        self._preload_on_error = "ignore"
        self._inherited_fds: list[int] | None = None
        self._forget()
        os.register_at_fork(after_in_child=self._lock._at_fork_reinit)  # type: ignore[attr-defined]

    def _forget(self) -> None:
        self._clients: requests.Socket | None = None
        self._forkserver_pid: int | None = None
        self._slot = 0
        self._owner_pid = 0

    # -- what programs call ------------------------------------------------------------------------------------------

    def set_forkserver_preload(self, modules_names: Iterable[str], *, on_error: str = "ignore") -> None:
        """Modules that the server loads before it forks; for those that cannot be imported: "ignore", "warn" or "fail".

        Of effect for a server that has not been started yet. TypeError for what is no list of strings.
        """
        names = list(modules_names)
        if not all(type(name) is str for name in names):
            raise TypeError("module_names must be a list of strings")
        if on_error not in _ON_ERROR:
            raise ValueError(f"on_error must be one of {', '.join(map(repr, _ON_ERROR))}, not {on_error!r}")
        self._preload_modules = names
        self._preload_on_error = on_error

    def get_inherited_fds(self) -> list[int] | None:
        """The file descriptors that this process got from its parent; None if no fork server has started it."""
        return self._inherited_fds

    def ensure_running(self) -> None:
        """Start the server unless one serves this process already, its parent's for example."""
        with self._lock:
            self._running_server()

    def connect_to_new_process(self, fds: Sequence[int], *, slot: int = 0) -> tuple[int, int, requests.Report]:
        """Ask for a child whose description is the file `fds[0]`, and which inherits the others.

        Its pid, its lifeline (-1 without pidfds) and the report on it. ValueError for too many descriptors, EOFError
        if the server cannot be kept alive, OSError if it cannot fork.
        """
        if len(fds) - 1 > limits.INHERITED_FDS_MAX_COUNT:
            raise ValueError("too many fds")
        for _ in range(_STARTS_MAX_COUNT):
            child = self._try_start_child(fds, slot)
            if child is not None:
                return child
        raise EOFError("the fork server has ended while it was asked for a process")

    def _try_start_child(self, fds: Sequence[int], slot: int) -> tuple[int, int, requests.Report] | None:
        """None if the server died before the child could begin to run."""
        description, *inherited = fds
        with self._lock:
            clients = self._running_server()
            ours, theirs = requests.pair()
            try:
                requests.send(clients, str(slot), [description, theirs.fileno(), clients.fileno(), *inherited])
            except (BrokenPipeError, ConnectionResetError):
                ours.close()
                return None
            finally:
                theirs.close()
        report, started = requests.Report(ours), None
        try:
            started = report.wait_started()
        finally:
            if started is None:
                os.close(report.fileno())
        return None if started is None else (*started, report)

    # -- the server's life -------------------------------------------------------------------------------------------

    def _running_server(self) -> requests.Socket:
        # The server says nothing on that socket: it is readable when the server is gone.
        if self._clients is not None and lifelines.is_readable(self._clients.fileno(), 0):
            self._reap()
        return self._clients or self._start()

    def _start(self) -> requests.Socket:
        clients, servers = requests.pair()
        slot = _native.slot_reserve()
        try:
            self._forkserver_pid = self._spawn(servers.fileno(), slot)
        except BaseException:
            _native.slot_end(slot)
            clients.close()
            raise
        finally:
            servers.close()
        _native.slot_set_pid(slot, self._forkserver_pid)
        self._clients, self._slot, self._owner_pid = clients, slot, os.getpid()
        return clients

    def _spawn(self, requests_fd: int, slot: int) -> int:
        fds = {"arena": _native.arena_fd(), "owner": lifelines.own()}
        description = handover.anonymous_file(pickle.dumps({**fds, "slot": slot, **self._preload_data()}))
        try:
            program = f"from phalanx.forkserver import main; main({requests_fd}, {description})"
            with interpreter.shielded_from_terminal():
                executable, arguments = interpreter.get_executable(), interpreter.command(program)
                return util.spawnv_passfds(executable, arguments, [requests_fd, description, *fds.values()])
        finally:
            os.close(description)

    def _preload_data(self) -> dict[str, object]:
        parent = spawn.get_preparation_data("forkserver")
        return {
            "preload": self._preload_modules,
            "on_error": self._preload_on_error,
            "warm": [name for name in _WARM_MODULES if name in sys.modules],
            "main_path": parent.get("init_main_from_path"),
            "sys_path": parent["sys_path"],
            "sys_argv": parent["sys_argv"],
            "setup": child_setup.steps(),
        }

    def _stop(self) -> None:
        """End the server and wait for it; another one is started when it is needed."""
        with self._lock:
            self._reap()

    def _reap(self) -> None:
        if self._clients is not None:
            self._clients.close()
        if self._owner_pid == os.getpid() and self._forkserver_pid is not None:
            # It holds nothing that needs an orderly end, and this ends one that has been stopped, too.
            try:
                os.kill(self._forkserver_pid, signal.SIGKILL)
                os.waitpid(self._forkserver_pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            _native.slot_end(self._slot)
        self._forget()

    def adopt(self, clients: requests.Socket, inherited_fds: list[int]) -> None:
        """In a child of the server: what it was given at its start."""
        self._forget()
        self._clients = clients
        self._inherited_fds = inherited_fds


def main(requests_fd: int, description_fd: int) -> NoReturn:
    """What the server's process runs."""
    from phalanx._start import fork_server

    fork_server.run(requests_fd, description_fd)


_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
get_inherited_fds = _forkserver.get_inherited_fds
connect_to_new_process = _forkserver.connect_to_new_process
set_forkserver_preload = _forkserver.set_forkserver_preload
util._stop_at_cleanup(_forkserver._stop, at_exit=True)
