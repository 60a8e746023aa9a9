"""The fork server's own process: single-threaded, the program's modules loaded, it forks a child for each request."""

from __future__ import annotations

import gc
import importlib
import os
import select
import sys
import warnings

from phalanx import _native, popen_fork, process, spawn, util
from phalanx._base import child_setup, interpreter, lifelines
from phalanx._base.signals import plain as signal
from phalanx._start import requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


__all__ = ["Server", "preload", "run"]


def run(requests_fd: int, description_fd: int) -> NoReturn:
    """Be the server, until its owner or all its clients are gone."""
    from _pickle import load

    (interrupt_handler,) = interpreter.ignore_terminal(signal.SIGINT)
    with open(description_fd, "rb") as file:
        data = load(file)
    _native.arena_attach(data["arena"], data["slot"])
    util._close_stdin()
    try:
        preload(data)
    finally:
        util._flush_std_streams()
    # What is loaded stays; a collection in a child that touched it would copy its pages.
    gc.collect()
    gc.freeze()
    Server(requests_fd, data["owner"], interrupt_handler).serve()
    os._exit(0)


# -- preloading ------------------------------------------------------------------------------------------------------


def preload(data: dict[str, Any]) -> None:
    """Load the modules `data["preload"]`; `__main__` stands for the file `data["main_path"]`.

    What cannot be imported is passed over, warned of or raised, as `data["on_error"]` says.
    """
    sys.path[:] = data["sys_path"]
    sys.argv[:] = data["sys_argv"]
    child_setup.run(data["setup"])
    for name in data["warm"]:
        importlib.import_module(name)
    for name in data["preload"]:
        try:
            _preload_module(name, data["main_path"])
        except ImportError as error:
            _tell_failure(name, error, data["on_error"])


def _preload_module(name: str, main_path: str | None) -> None:
    if name != "__main__":
        importlib.import_module(name)
    elif main_path is not None:
        _preload_main(main_path)


def _preload_main(path: str) -> None:
    current: Any = process.current_process()
    current._inheriting = True
    try:
        spawn.import_main_path(path)
    except ImportError:
        raise
    except BaseException:  # noqa: BLE001  # each child will import it again, and tell its parent
        pass
    finally:
        del current._inheriting


def _tell_failure(name: str, error: ImportError, on_error: str) -> None:
    if on_error == "fail":
        raise error
    if on_error == "warn":
        warnings.simplefilter("always", ImportWarning)
        warnings.warn(f"Failed to preload module {name!r}: {error}", ImportWarning, stacklevel=2)


# -- serving ---------------------------------------------------------------------------------------------------------


class _Child:
    """A child, or its zombie: it stays one until its client has seen the end, so that nobody else can get its pid.

    `slot` is what the fork gave it: it has taken the client's instead, unless it died before.
    """

    __slots__ = ("lifeline", "pid", "report", "slot")

    def __init__(self, pid: int, slot: int, lifeline: int, report: requests.Socket) -> None:
        self.pid = pid
        self.slot = slot
        self.lifeline = lifeline
        self.report = report

    def exit_code(self) -> int:
        """How it ended; it remains to be reaped."""
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert end is not None
        return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def reap(self) -> None:
        os.waitpid(self.pid, 0)
        _native.slot_end(self.slot)

    def close(self) -> None:
        os.close(self.lifeline)
        self.report.close()


class Server:
    """Waits for requests, for the end of children and for clients that have seen it, for the end of the owner."""

    def __init__(self, requests_fd: int, owner: int, interrupt_handler: Any) -> None:
        self._requests = requests.open_socket(requests_fd)
        self._owner = owner
        self._interrupt_handler = interrupt_handler
        self._children: dict[int, _Child] = {}  # by lifeline
        self._zombies: dict[int, _Child] = {}  # by report
        self._poller = select.poll()
        self._poller.register(requests_fd, select.POLLIN)
        self._poller.register(owner, select.POLLIN)

    def serve(self) -> None:
        is_going_on = True
        while is_going_on:
            for fd, _ in self._poller.poll():
                if fd in self._children:
                    self._on_child_end(self._children.pop(fd))
                elif fd in self._zombies:
                    self._on_seen(self._zombies.pop(fd))
                else:
                    is_going_on = fd != self._owner and self._on_request()

    def _on_request(self) -> bool:
        """False if there are no clients any more."""
        packet, fds = requests.receive(self._requests)
        if not packet:
            return False
        request = _Request(int(packet), fds)
        ends = lifelines.ends_of_child()
        try:
            pid = os.fork()
        except OSError as error:
            request.tell(f"failed {error.errno}")
            request.close()
            return True
        if pid == 0:
            self._be_child(request, ends)
        self._on_forked(pid, request, ends)
        return True

    def _on_forked(self, pid: int, request: _Request, ends: tuple[int, int] | None) -> None:
        slot = _native.slot_of_last_fork()
        _native.slot_set_pid(slot, pid)
        child = _Child(pid, slot, lifelines.of_child(pid, ends), request.report)
        self._children[child.lifeline] = child
        self._poller.register(child.lifeline, select.POLLIN)
        request.close_all_but_report()

    def _on_child_end(self, child: _Child) -> None:
        self._poller.unregister(child.lifeline)
        self._zombies[child.report.fileno()] = child
        self._poller.register(child.report.fileno(), select.POLLIN)
        _tell(child.report, f"ended {child.exit_code()}")

    def _on_seen(self, child: _Child) -> None:
        """The client has answered, or is gone itself."""
        self._poller.unregister(child.report.fileno())
        child.reap()
        child.close()

    def _be_child(self, request: _Request, ends: tuple[int, int] | None) -> NoReturn:
        code = 1
        try:
            self._close_all()
            lifelines.keep_in_child(ends)
            # The description says whether interrupts are to wait on, as in the thread that asked for this child.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            signal.signal(signal.SIGINT, self._interrupt_handler)
            popen_fork.refresh_native_id()
            popen_fork.reset_exit_functions()
            code = request.serve()
        except BaseException:  # noqa: BLE001  # the description could not be read: said as the interpreter would
            sys.excepthook(*sys.exc_info())
        finally:
            popen_fork.leave(code)

    def _close_all(self) -> None:
        """In a child: what belongs to the server and to the other children."""
        self._requests.close()
        os.close(self._owner)
        for child in (*self._children.values(), *self._zombies.values()):
            child.close()


def _tell(report: requests.Socket, packet: str) -> None:
    try:
        requests.send(report, packet)
    except OSError:  # the client has gone
        pass


class _Request:
    """One child to be forked: its slot, and the file descriptors that came with the request."""

    def __init__(self, slot: int, fds: list[int]) -> None:
        self._slot = slot
        self._description, report_fd, self._clients_fd, *self._inherited = fds
        self.report = requests.open_socket(report_fd)

    def tell(self, packet: str) -> None:
        _tell(self.report, packet)

    def close_all_but_report(self) -> None:
        util.close_fds(self._description, self._clients_fd, *self._inherited)

    def close(self) -> None:
        self.close_all_but_report()
        self.report.close()

    def serve(self) -> int:
        """In the child. From `started` on the client counts on it; a client that hears nothing asks another server."""
        from phalanx import forkserver

        _native.slot_adopt(self._slot)
        lifeline = lifelines.own()
        try:
            requests.send(self.report, f"started {os.getpid()}", [lifeline] if lifelines.has_pidfds() else [])
        except OSError:
            pass
        self.report.close()
        forkserver._forkserver.adopt(requests.open_socket(self._clients_fd), self._inherited)
        return spawn._main(self._description, attach=lambda fd, slot: None, inherited_fds=self._inherited)
