"""`python -m bench [--quick] [name[:size] …]`: run the benchmarks named, or all; each prints a table of medians."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import platform
import sys

import bench


def machine() -> str:
    """Return what this was measured on, in one line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except FileNotFoundError:
        pass  # not Linux: what the platform says has to do
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def main() -> None:
    """Run the benchmarks."""
    known = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_"))
    quick = "--quick" in sys.argv
    sizes = dict(word.partition(":")[::2] for word in sys.argv[1:] if word != "--quick") or dict.fromkeys(known, "")
    unknown = set(sizes) - set(known)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    print(machine())
    for name, size in sizes.items():
        print(f"\n== {name}")
        run = importlib.import_module(f"bench.{name}").main
        takes = inspect.signature(run).parameters
        if size and not (size.isdecimal() and "size" in takes):
            sys.exit(f"{name} takes no size {size}")
        run(**({"quick": quick} if "quick" in takes else {}), **({"size": int(size)} if size else {}))


main()
