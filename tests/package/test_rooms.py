"""The package keeps to the table in CONTRIBUTING.md: data flows one way."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dqe_loss"
TABLE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| room | holds |")[2].partition("\n\n")[0]
ROOMS = [name for row in TABLE.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
"""Folders and files, in the order in which they may import."""
PUBLIC = {"__init__.py", "__main__.py"}  # of the package as a whole


def room_of(path: str) -> str:
    """The room that a file, or a module as a path without its ending, lies in."""
    return max((room for room in ROOMS if f"{path}/".startswith(room.removesuffix(".py"))), key=len, default="none")


def imported(file: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in it, as paths."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_extra":
            found |= {part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    return {name.removeprefix("dqe_loss.").replace(".", "/") for name in found if name.startswith("dqe_loss.")}


def test_the_table_names_every_room():
    assert {room for room in ROOMS if not (PACKAGE / room).exists()} == set()
    there = {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if not path.name.startswith((".", "__py"))}
    assert {name for name in there - PUBLIC if name.endswith((".py", "/"))} <= set(ROOMS)


def test_a_file_imports_only_from_rooms_before_its_own():
    against = []
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if path not in PUBLIC:
            own = room_of(path)
            allowed = ROOMS[: ROOMS.index(own) + 1]
            against += [f"{path} imports {module}" for module in imported(file) if room_of(module) not in allowed]
    assert against == []
