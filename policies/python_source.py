"""The source of a Python policy: which files of its folder belong to it, their fingerprint, and importing them."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from real2sim.files import read_bytes, read_text

OURS = "real2sim"
"""Never part of a policy, also where its source lies beside one."""
OUR_FOLDER = str(Path(__file__).parents[1])
INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Folders of Python itself and of installed packages."""

_loaded: dict[str, tuple[Path, str]] = {}
"""Modules of policies in this process: name -> file and its content's hash."""


def local_modules(path: Path) -> dict[str, Path]:
    """Name -> file of a Python file and of every module beside it that it imports, directly or not.

    Read from the import statements, also those inside functions; "beside" is the folder that holds the file, or the
    one that holds its package.
    """
    root, first = import_root(path)
    found: dict[str, Path] = {}
    waiting = [(first, path)]
    parents = [".".join(first.split(".")[:end]) for end in range(1, len(first.split(".")))]
    waiting += [(parent, file) for parent in parents if (file := _file(root, parent)) is not None]
    while waiting:
        name, file = waiting.pop()
        if name in found:
            continue
        found[name] = file
        for wanted in _imported(_parse(file), name, file.name == "__init__.py"):
            parts = wanted.split(".")
            if parts[0] != OURS:
                prefixes = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
                waiting += [(each, here) for each in prefixes if (here := _file(root, each)) is not None]
    return dict(sorted(found.items()))


def source_fingerprint(path: Path, files: Sequence[Path] = ()) -> str:
    """Hash of a Python file, the modules beside it that it imports, and further files such as weights."""
    digest = hashlib.sha256()
    for name, file in local_modules(path).items():
        digest.update(f"{name}\n{_hash(file)}\n".encode())
    for file in files:
        digest.update(f"{file.name}\n{_hash(file)}\n".encode())
    return digest.hexdigest()[:16]


def import_root(path: Path) -> tuple[Path, str]:
    """The folder from which a Python file is imported, above its packages, and its name there."""
    folder, names = path.resolve().parent, [path.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def import_source(path: Path) -> ModuleType:
    """The module in a Python file; one whose source has changed since is imported anew.

    A file outside any package gets a name of its own, so that two folders may both hold a ``policy.py``; modules that
    it imports keep theirs.

    Raises:
        ValueError: with file and line, if importing fails, or if another module of a name is already loaded.
    """
    path = path.resolve()
    root, first = import_root(path)
    modules = local_modules(path)
    hashes = {name: _hash(file) for name, file in modules.items()}
    own = root == path.parent
    name = f"real2sim_policy_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}" if own else first
    shared = {other: file for other, file in modules.items() if not (own and other == first)}
    for other, file in shared.items():
        _check_free(other, file, path)
    places = {name if own and other == first else other: (modules[other], hashes[other]) for other in modules}
    if name in sys.modules and all(_loaded.get(other) == place for other, place in places.items()):
        return sys.modules[name]
    for other in places:
        sys.modules.pop(other, None)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    _loaded.update(places)
    # Compiled files are told apart by second and size, which an edited policy may share with its predecessor.
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return _execute(name, path) if own else importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Whatever a user's file does wrong is said in one sentence, with the place.
        sys.modules.pop(name, None)
        raise ValueError(f"{blame(error, list(modules.values()))}; the policy cannot be imported") from error
    finally:
        sys.dont_write_bytecode = writes


def blame(error: BaseException, files: Sequence[Path] | None = None) -> str:
    """``file.py, line 3: KeyError: 'x'`` for the innermost line of ``files`` that an exception went through; without
    files for the innermost one that is neither ours nor an installed package's."""
    known = None if files is None else {str(file.resolve()) for file in files}
    where, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file in known if known is not None else not file.startswith((*INSTALLED, OUR_FOLDER, "<")):
            where = f"{file}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        where = f"{error.filename}, line {error.lineno}: "
    try:
        said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    except Exception:
        # An exception of somebody's own may not even be printable.
        said = ""
    return f"{where}{type(error).__name__}{': ' if said else ''}{said[:300]}"


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _check_free(name: str, file: Path, path: Path) -> None:
    """Raise a ValueError if ``name`` already stands for another file in this process."""
    module = sys.modules.get(name)
    taken = _loaded[name][0] if name in _loaded else None
    if taken is None and module is not None:
        origin = getattr(module, "__file__", None)
        taken = Path(origin) if origin else Path(f"Python's own {name}")
    if taken is not None and taken.resolve() != file.resolve():
        raise ValueError(
            f"{path} imports {name!r} from {file}, but {taken} is already loaded under that name; rename {file.name}"
        )


def _file(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    for file in (place / "__init__.py", place.parent / f"{place.name}.py"):
        if file.is_file():
            return file
    return None


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(read_text(file, "a Python file"), str(file))
    except SyntaxError as error:
        raise ValueError(
            f"{file}, line {error.lineno or 1}: {error.msg}; the policy cannot be imported"
        ) from error


def _imported(tree: ast.Module, name: str, is_package: bool) -> Iterator[str]:
    """Names of the modules that a file may import; of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from [base] * bool(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if base)


def _hash(file: Path) -> str:
    return hashlib.sha256(read_bytes(file, "a file of a policy")).hexdigest()
