"""Check 44: the house stands as ARCHITECTURE.md draws it."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from support.source_tree import Import, Module, imports, modules

FLOORS = {
    "errors": 0,
    "quantities": 0,
    "wire": 1,
    "config": 1,
    "process": 1,
    "models": 2,
    "worker": 2,
    "manager": 3,
    "lsp": 4,
    "gateway": 4,
    "sdk": 4,
    "demo": 4,
    "cli": 5,
    "__main__": 6,
}
DATA_ROOMS = {"__init__", "embedded"}
"""Nothing is imported from them but a version and a path, so they stand on no floor."""

HOMES: dict[str, tuple[str, ...]] = {
    "pygls": ("lsp/",),
    "lsprotocol": ("lsp/",),
    "cattrs": ("lsp/",),
    "attrs": ("lsp/",),
    "llama_cpp": ("worker/llama/",),
    "llguidance": ("worker/",),
    "numpy": ("worker/",),
    "jinja2": ("worker/template.py",),
    "pynvml": ("models/hardware/",),
    "psutil": ("process", "models/hardware/"),
    "platformdirs": ("config/",),
    "rich": ("demo/", "cli/"),
    "msgspec": ("",),
    "httpx": ("models/store/",),
    "httpcore": ("models/store/",),
    "keyring": ("models/store/",),
}
"""Third-party library to the only places that may import it."""

MAY_PRINT = "cli"
"""The room that may."""

NOT_IN_THE_DAEMON = ("llama_cpp", "llguidance", "numpy", "jinja2", "rich", "pynvml", "httpx", "httpcore")
"""What a daemon that only speaks the protocol must not have loaded: they cost start time, memory or safety."""


def room_of(target: str) -> str:
    """The room of an absolute module name of ours."""
    return [*target.split("."), "__init__"][1]


def own_imports() -> list[Import]:
    """Every import of one of our modules by another."""
    return [found for module in modules() for found in imports(module) if found.target.split(".")[0] == "botframework"]


def test_every_room_stands_on_a_floor() -> None:
    """A new room has to be given its place in the house before anything is built in it."""
    rooms = {module.room for module in modules()}

    assert rooms - set(FLOORS) - DATA_ROOMS == set()


def test_imports_point_down() -> None:
    """No module imports a room above its own, and rooms on the same floor never import each other."""
    wrong = [
        str(found)
        for found in own_imports()
        if (target := room_of(found.target)) not in DATA_ROOMS
        and found.importer.room not in DATA_ROOMS
        and target != found.importer.room
        and FLOORS[target] >= FLOORS[found.importer.room]
    ]

    assert wrong == []


def test_the_package_itself_imports_none_of_its_rooms() -> None:
    """Asking for the version loads nothing else."""
    wrong = [str(found) for found in own_imports() if found.importer.room in DATA_ROOMS]

    assert wrong == []


def test_third_party_libraries_stay_at_home() -> None:
    """Each library is imported only where its home is, so that it can be replaced or left out there."""
    wrong = [
        str(found)
        for module in modules()
        for found in imports(module)
        if (library := found.target.split(".")[0]) not in sys.stdlib_module_names
        and library not in {"botframework", "__future__"}
        and not any(module.path.as_posix().startswith(home) for home in HOMES.get(library, ()))
    ]

    assert wrong == []


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.path.as_posix())
def test_module_says_what_it_is_for(module: Module) -> None:
    """Every module opens with a docstring."""
    assert ast.get_docstring(module.tree)


def test_only_the_command_line_prints() -> None:
    """A ``print`` anywhere else could land in the protocol's stream."""
    wrong = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        if module.room != MAY_PRINT
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert wrong == []


def test_the_daemon_never_loads_the_engine() -> None:
    """Importing all that the daemon runs on leaves llama.cpp and every other heavy library unloaded."""
    program = (
        "import sys, botframework.cli, botframework.lsp.server, botframework.manager.router\n"
        f"print([name for name in {NOT_IN_THE_DAEMON!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (answer.returncode, answer.stdout.strip(), answer.stderr) == (0, "[]", "")
