"""`import multiprocessing` means phalanx: in the process that asked for it, and in those that it starts."""

import ast
import subprocess
import sys
import textwrap

import pytest

START_METHODS = ["fork", "spawn", "forkserver"]
RUN_LIMIT_S = 50

# Says, in any process, which package the name stands for, and whether files of the stdlib's have been loaded.
WHO = """
import os, sys

STDLIB = os.path.join(os.path.dirname(os.__file__), "multiprocessing", "")

def who():
    import multiprocessing, multiprocessing.queues, multiprocessing.pool
    from multiprocessing import Pool
    loaded = [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(STDLIB)]
    return multiprocessing.__name__, multiprocessing.queues.__name__, Pool.__module__.split(".")[0], loaded
"""
PHALANX = ("phalanx", "phalanx.queues", "phalanx", [])


@pytest.fixture
def python(tmp_path):
    """Runs a program and gives what it prints; ends only when every process that holds the pipes has ended."""

    def run(source, *arguments, stderr=""):
        path = tmp_path / "program.py"
        path.write_text(WHO + textwrap.dedent(source))
        command = [sys.executable, *arguments, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
        assert done.stderr == stderr or (stderr and stderr in done.stderr)
        assert done.returncode == 0
        return [ast.literal_eval(line) for line in done.stdout.splitlines()]

    return run


def test_alias(python):
    assert python("""
        import phalanx.compat
        phalanx.compat.alias()
        print(who())
    """) == [PHALANX]


def test_aliasing_twice_is_once(python):
    assert python("""
        import phalanx.compat
        phalanx.compat.alias()
        before = list(sys.meta_path)
        phalanx.compat.alias()
        print(sys.meta_path == before)
    """) == [True]


def test_a_module_is_the_very_module(python):
    assert python("""
        import phalanx.compat
        phalanx.compat.alias()
        import multiprocessing.connection, phalanx.connection, multiprocessing.dummy.connection
        print((multiprocessing is phalanx, multiprocessing.connection is phalanx.connection))
        print((phalanx.__spec__.name, phalanx.connection.__spec__.name, phalanx.connection.__name__))
    """) == [(True, True), ("phalanx", "phalanx.connection", "phalanx.connection")]


def test_what_phalanx_lacks_is_not_the_stdlibs(python):
    name = "multiprocessing.nothing_of_this_name"
    assert python(f"""
        import phalanx.compat, importlib.util
        phalanx.compat.alias()
        print(importlib.util.find_spec({name!r}))
        try:
            import {name}
        except ModuleNotFoundError as error:
            print((str(error), error.name))
    """) == [None, (f"No module named {name!r}", name)]


def test_too_late_is_told(python):
    assert python(
        """
        import multiprocessing
        import phalanx.compat
        phalanx.compat.alias()
        import multiprocessing
        print(multiprocessing is phalanx)
        """,
        stderr="RuntimeWarning: multiprocessing was imported before it was aliased",
    ) == [True]


@pytest.mark.parametrize("method", START_METHODS)
def test_children_are_aliased_and_theirs(python, method):
    """The program imports multiprocessing at its top: a spawned child is aliased before it imports the program."""
    assert python(f"""
        import phalanx.compat
        if __name__ == "__main__":
            phalanx.compat.alias()
        import multiprocessing

        def child(queue, depth):
            queue.put(who())
            if depth:
                start(queue, depth - 1)

        def start(queue, depth):
            process = multiprocessing.Process(target=child, args=(queue, depth))
            process.start()
            process.join()

        if __name__ == "__main__":
            multiprocessing.set_start_method({method!r})
            queue = multiprocessing.Queue()
            start(queue, 1)
            print(queue.get(block=False))
            print(queue.get(block=False))
    """) == [PHALANX, PHALANX]


def test_without_alias_children_have_none(python):
    assert python("""
        import phalanx
        import phalanx.compat

        def child(queue):
            import multiprocessing
            queue.put(multiprocessing.__name__)

        if __name__ == "__main__":
            context = phalanx.get_context("spawn")
            queue = context.SimpleQueue()
            process = context.Process(target=child, args=(queue,))
            process.start()
            print(repr(queue.get()))
            process.join()
    """) == ["multiprocessing"]
