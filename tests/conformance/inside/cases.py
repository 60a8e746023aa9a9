"""The interpreter's test classes of CONFORMANCE_SUITE for CONFORMANCE_START. Children import this too."""

import os

start = os.environ["CONFORMANCE_START"]

if os.environ.get("CONFORMANCE_SUITE", "multiprocessing") == "multiprocessing":
    from test._test_multiprocessing import install_tests_in_module_dict

    install_tests_in_module_dict(globals(), start)
    CLASSES = {name: kind for name, kind in globals().items() if getattr(kind, "__module__", "") == __name__}
else:
    import executor_cases

    CLASSES = executor_cases.classes(start)
