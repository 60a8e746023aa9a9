"""The C core's description: every C file under native/ but its own tests. All else is in pyproject.toml."""

import os
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

STABLE_ABI = "0x030B0000"  # the limited API of 3.11: one wheel serves 3.11 and all later versions

# A free-threaded interpreter has no stable ABI: there the core is built against the full API, per version.
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
warnings_are_errors = os.environ.get("PHALANX_WERROR") == "1"


def native(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path("native").glob(pattern) if path.parts[1] != "tests")


core = Extension(
    "phalanx._native",
    sources=native("**/*.c"),
    depends=native("**/*.h"),
    include_dirs=["native"],
    define_macros=[] if free_threaded else [("Py_LIMITED_API", STABLE_ABI)],
    py_limited_api=not free_threaded,
    extra_compile_args=[
        "-std=gnu17",
        "-O2",
        "-fvisibility=hidden",
        "-pthread",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        *(["-Werror"] if warnings_are_errors else []),
    ],
    extra_link_args=["-pthread"],
)

setup(ext_modules=[core], options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}})
