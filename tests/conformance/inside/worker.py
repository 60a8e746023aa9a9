"""Runs, or lists, test classes; one JSON line for each event, in a file that outlives a crash.

usage: worker.py LOG list | worker.py LOG run CLASS METHOD...
"""

import faulthandler
import importlib
import json
import os
import subprocess
import sys
import traceback
import unittest

CASES = "cases"
LONG_TIMEOUT_S = 40.0
"""Some tests sleep this long in a thread that nobody can stop; the suite's own figure is 300."""

ISOLATING_FLAGS = ("-I", "-E", "-S", "-s")
"""An interpreter that a test starts with one of these would ignore PYTHONPATH, and so test the stdlib."""

DETAIL_CHARS = 4000


class Log:
    """Where events go. A forked child that comes back into the runner is a fault of the package: it ends here."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.pid = os.getpid()

    def write(self, **event):
        escaped = os.getpid() != self.pid
        line = json.dumps({"event": "escaped"} if escaped else event)
        os.write(self.fd, line.encode() + b"\n")
        if escaped:
            os._exit(1)


class Reporter(unittest.TestResult):
    """Each test's outcome, the moment it is known."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def startTest(self, test):
        super().startTest(test)
        self.log.write(event="start", id=name_of(test))

    def stopTest(self, test):
        super().stopTest(test)
        self.log.write(event="stop", id=name_of(test))

    def tell(self, test, status, detail=""):
        if isinstance(test, unittest.TestCase):
            self.log.write(event="result", id=name_of(test), status=status, detail=detail[-DETAIL_CHARS:])
        else:  # a fixture of the class or the module
            self.log.write(event="fixture", id=str(test), status=status, detail=detail[-DETAIL_CHARS:])

    def addSuccess(self, test):
        self.tell(test, "pass")

    def addExpectedFailure(self, test, err):
        self.tell(test, "pass")

    def addUnexpectedSuccess(self, test):
        self.tell(test, "fail", "passed although it is expected to fail")

    def addSkip(self, test, reason):
        self.tell(test, "skip", reason)

    def addFailure(self, test, err):
        self.tell(test, "fail", text_of(err))

    def addError(self, test, err):
        self.tell(test, "error", text_of(err))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.tell(test, "fail", f"{subtest}\n{text_of(err)}")


def name_of(test):
    return f"{type(test).__name__}.{test._testMethodName}"


def text_of(err):
    return "".join(traceback.format_exception(*err))


def keep_the_alias():
    """Let the interpreters that tests start have this environment's modules."""
    original = subprocess.Popen.__init__

    def start(self, args, *rest, **options):
        if isinstance(args, list | tuple) and args and args[0] == sys.executable:
            end = next((i for i, word in enumerate(args) if word in ("-c", "-m")), len(args))
            args = [word for word in args[:end] if word not in ISOLATING_FLAGS] + list(args[end:])
        original(self, args, *rest, **options)

    subprocess.Popen.__init__ = start


def file_of(module):
    return getattr(module, "__file__", None) or ""


def list_classes(cases, log):
    for name, kind in cases.CLASSES.items():
        if isinstance(kind, type) and issubclass(kind, unittest.TestCase):
            log.write(event="class", name=name, methods=unittest.TestLoader().getTestCaseNames(kind))


def run_class(cases, log, name, methods):
    from test import _test_multiprocessing as suite
    from test import support

    suite.PRELOAD[:] = ["__main__", CASES]
    support.verbose = 0
    support.environment_altered = False
    support.LONG_TIMEOUT = min(support.LONG_TIMEOUT, LONG_TIMEOUT_S)
    kind = cases.CLASSES[name]
    # The inner suite is a class's, the outer one the module's: so that the fixtures of both are run.
    unittest.TestSuite([unittest.TestSuite(map(kind, methods))]).run(Reporter(log))
    import multiprocessing

    folder = os.path.join(os.path.dirname(os.__file__), "multiprocessing", "")
    log.write(
        event="end",
        altered=support.environment_altered,
        package=multiprocessing.__name__,
        stdlib=[
            key
            for key, module in list(sys.modules.items())
            if (getattr(module, "__file__", "") or "").startswith(folder)
        ],
    )


def main():
    path, what, *rest = sys.argv[1:]
    faulthandler.enable()  # the runner sends SIGABRT when time is up
    log = Log(path)
    if os.environ["CONFORMANCE_PACKAGE"] != "multiprocessing":
        keep_the_alias()
    try:
        cases = importlib.import_module(CASES)
    except unittest.SkipTest as exc:
        sys.exit(f"the suite skips itself: {exc}")
    if what == "list":
        list_classes(cases, log)
    else:
        run_class(cases, log, rest[0], rest[1:])


if __name__ == "__main__":
    main()
