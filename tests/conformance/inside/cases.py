"""The interpreter's own test classes for the start method CONFORMANCE_START. Children import this too."""

import os

from test._test_multiprocessing import install_tests_in_module_dict

install_tests_in_module_dict(globals(), os.environ["CONFORMANCE_START"])
