"""What a child that is not a fork of its parent does before it runs: it becomes as the parent was, piece by piece.

The first half runs in the parent and says how it is; the second half runs in the child. Little is imported here, and
nothing of the start methods: a spawned child pays for each import.
"""

from __future__ import annotations

import os
import sys

from phalanx import _native, process, util
from phalanx._base import child_setup, interpreter, lifelines, start_method
from phalanx._base.signals import plain as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any, NoReturn

__all__ = [
    "_main",
    "freeze_support",
    "get_command_line",
    "get_executable",
    "get_preparation_data",
    "import_main_path",
    "set_executable",
]

# -- the command line ------------------------------------------------------------------------------------------------

_MARK = "--multiprocessing-fork"

WINEXE = False
WINSERVICE = False

set_executable = interpreter.set_executable
get_executable = interpreter.get_executable


def is_forking(argv: Sequence[str]) -> bool:
    """Whether this command line is one that `get_command_line` made."""
    return len(argv) >= 2 and argv[1] == _MARK


def freeze_support() -> None:
    """In a program frozen into an executable: be the child that this process was started as, and do not return."""
    if is_forking(sys.argv):
        arguments = (word.partition("=") for word in sys.argv[2:])
        spawn_main(**{name: None if value == "None" else int(value) for name, _, value in arguments})  # type: ignore[arg-type]


def get_command_line(**kwds: Any) -> list[Any]:
    """The command line of a child; `kwds` are what its `spawn_main` gets."""
    if getattr(sys, "frozen", False):
        return [sys.executable, _MARK, *(f"{name}={value!r}" for name, value in kwds.items())]
    arguments = ", ".join(f"{name}={value!r}" for name, value in kwds.items())
    program = f"from phalanx.spawn import spawn_main; spawn_main({arguments})"
    return [*interpreter.command(program), _MARK]


# -- in the parent ---------------------------------------------------------------------------------------------------


def get_preparation_data(name: str) -> dict[str, Any]:
    """What a child called `name` has to know of this process, for `prepare`. RuntimeError if this process has no right
    to children yet, because it is still importing the main module for itself.
    """
    _check_not_importing_main()
    data: dict[str, Any] = {
        "name": name,
        "authkey": process.current_process().authkey,
        "sys_path": _absolute_sys_path(),
        "sys_argv": sys.argv,
        "orig_dir": process.ORIGINAL_DIR,
        "dir": os.getcwd(),
        "start_method": start_method.current(allow_none=True),
        "interrupts_wait": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "setup": child_setup.steps(),
        "temp_dir": util._temp_dir,
        "log_to_stderr": util._log_to_stderr,
    }
    if util._logger is not None:
        data["log_level"] = util._logger.getEffectiveLevel()
    data.update(_main_module())
    return data


def _check_not_importing_main() -> None:
    if getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(_NO_GUARD)


_NO_GUARD = """\
A process was started while its parent is itself only just starting.

        Children that are not forked import the main module, so starting
        processes at its top level would never end. Put what the program
        does behind this line (and freeze_support() first, if it is to be
        frozen into an executable):

            if __name__ == '__main__':
                ...
"""


def _absolute_sys_path() -> list[str]:
    """An empty entry means the current folder, which may be another one in the child."""
    path = sys.path.copy()
    if "" in path:
        path[path.index("")] = process.ORIGINAL_DIR or ""
    return path


def _main_module() -> dict[str, str]:
    """How the child finds the main module: by name if it was run with -m, else by its file, if it has one."""
    main: Any = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return {"init_main_from_name": name}
    path = getattr(main, "__file__", None)
    if path is None:
        return {}
    if not os.path.isabs(path) and process.ORIGINAL_DIR is not None:
        path = os.path.join(process.ORIGINAL_DIR, path)
    return {"init_main_from_path": os.path.normpath(path)}


# -- in the child ----------------------------------------------------------------------------------------------------

# Keeps what the module `__main__` was before, which must not be collected.
old_main_modules: list[ModuleType] = []


def spawn_main(pipe_handle: int, parent_pid: int | None = None, tracker_fd: int | None = None) -> NoReturn:
    """Be the child whose description is in the file `pipe_handle`. Never returns."""
    from phalanx.popen_fork import leave

    assert is_forking(sys.argv), "Not forking"
    leave(_main(pipe_handle, attach=_native.arena_attach))


def _main(fd: int, attach: Callable[[int, int], None], inherited_fds: Sequence[int] | None = None) -> int:
    """Read what this process is to be, become it, run it; its exit status.

    `inherited_fds` translates the numbers of file descriptors where they are not the numbers they had in the parent.
    """
    from _pickle import load

    current: Any = process.current_process()
    current._inheriting = True
    try:
        with open(fd, "rb") as file:
            data = load(file)
            if not data.pop("interrupts_wait"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            handed = _handed_fds(data.pop("fds"), inherited_fds)
            attach(handed.get("arena", -1), data.pop("slot"))
            process.follow(data.pop("leader"), handed["parent"])  # it may die while the main module is imported
            _adopt_helpers(handed)
            prepare(data)
            itself: process.BaseProcess = load(file)
    finally:
        del current._inheriting
    return itself._bootstrap(parent_sentinel=handed["parent"])


def _handed_fds(numbers: dict[str, int], inherited_fds: Sequence[int] | None) -> dict[str, int]:
    if inherited_fds is None:
        return numbers
    return {name: inherited_fds[number] for name, number in numbers.items()}


def _adopt_helpers(fds: dict[str, int]) -> None:
    """The helper processes of the parent serve this one too, and the program's first process is the parent's."""
    lifelines.adopt_root(fds.get("root", fds["parent"]))
    if "tracker" in fds:
        from phalanx import resource_tracker

        resource_tracker._resource_tracker.adopt(fds["tracker"])
    if "lifeline" in fds:
        # Only held, never read: the other end's holder sees this process end.
        os.set_inheritable(fds["lifeline"], False)


def prepare(data: dict[str, Any]) -> None:
    """Become as the parent was, as `get_preparation_data` found it; the main module last."""
    if "name" in data:
        process.current_process().name = data["name"]
    if "authkey" in data:
        process.current_process().authkey = data["authkey"]
    _prepare_interpreter(data)
    _prepare_package(data)
    if "init_main_from_name" in data:
        _fixup_main_from_name(data["init_main_from_name"])
    elif "init_main_from_path" in data:
        _fixup_main_from_path(data["init_main_from_path"])


def _prepare_interpreter(data: dict[str, Any]) -> None:
    if "sys_path" in data:
        sys.path = data["sys_path"]
    if "sys_argv" in data:
        sys.argv = data["sys_argv"]
    if "dir" in data:
        os.chdir(data["dir"])
    if "orig_dir" in data:
        process.ORIGINAL_DIR = data["orig_dir"]


def _prepare_package(data: dict[str, Any]) -> None:
    child_setup.run(data.get("setup", []))
    util._inherited_level = data.get("log_level")
    util._temp_dir = data.get("temp_dir")
    if data.get("log_to_stderr"):
        util.log_to_stderr()
    if "start_method" in data:
        start_method.choose(data["start_method"], force=True)


# -- the main module -------------------------------------------------------------------------------------------------


def import_main_path(main_path: str) -> None:
    """Run the file of the parent's main module under the name `__mp_main__`, and make it this process's `__main__`."""
    _fixup_main_from_path(main_path)


def _fixup_main_from_name(name: str) -> None:
    # The `__main__` of a package has no guard as a rule, and nothing imports it; so nothing of it can be needed here.
    if name == "__main__" or name.endswith(".__main__"):
        return
    if getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) == name:
        return
    import runpy

    with _NewMain() as module:
        module.__dict__.update(runpy.run_module(name, run_name="__mp_main__", alter_sys=True))


def _fixup_main_from_path(path: str) -> None:
    if os.path.splitext(os.path.basename(path))[0] == "ipython":  # its main module is its own, not the user's
        return
    if getattr(sys.modules["__main__"], "__file__", None) == path:
        return
    with _NewMain() as module:
        if os.path.isfile(path) and path.endswith((".py", ".pyw")):
            _run_file(path, module)
        else:
            import runpy

            module.__dict__.update(runpy.run_path(path, run_name="__mp_main__"))


def _run_file(path: str, module: ModuleType) -> None:
    """What runpy would do, without loading it, and in the module itself."""
    import io

    module.__dict__.update(__file__=path, __cached__=None, __package__="", __builtins__=__builtins__)
    argv0, sys.argv[0] = sys.argv[0], path
    try:
        with io.open_code(path) as file:
            exec(compile(file.read(), path, "exec"), module.__dict__)
    finally:
        sys.argv[0] = argv0


class _NewMain:
    """A module that is `__mp_main__` while it is filled, and `__main__` too once that has gone well."""

    def __enter__(self) -> ModuleType:
        self._module = type(sys)("__mp_main__")
        sys.modules["__mp_main__"] = self._module
        return self._module

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            del sys.modules["__mp_main__"]
            return
        old_main_modules.append(sys.modules["__main__"])
        # runpy puts a module of its own in that place while it runs.
        sys.modules["__main__"] = sys.modules["__mp_main__"] = self._module
