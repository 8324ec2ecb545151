"""Build the training text: permissively licensed Python, pinned, deduplicated and split before anything is trained.

The steps are deterministic: the same ``packages.toml`` and interpreter give the same files in the same order, hence
the same tokenizer, the same split and the same documents.

    python corpus.py download --work DIR     fetch the pinned wheels with pip
    python corpus.py build --work DIR        select, deduplicate, split, write the text and the manifest
    python corpus.py check --work DIR        prove again that no held-out function body occurs in training
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import lzma
import subprocess
import sys
import sysconfig
import tomllib
import warnings
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).resolve().parent
ALLOWED_LICENCES = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "PSF-2.0", "ISC", "Zlib", "CC0-1.0"}
HELDOUT_PACKAGES = {"tornado", "luigi"}
"""Two packages no file of which is trained on: a style the model has not seen at all."""
HELDOUT_PERCENT = 1.0
PACKAGE_CAP = 10_000_000
"""No package gives more than this many bytes, so that one house style does not fill the model."""
MIN_FILE, MAX_FILE = 200, 200_000
MAX_MEAN_LINE, MAX_LINE = 100, 1_000
SEEN_LINES_LIMIT = 0.6
"""A file most of whose lines stood in earlier files is a near-duplicate (a vendored copy, generated code)."""
SKIP_PARTS = {
    "test",
    "tests",
    "testing",
    "idlelib",
    "lib2to3",
    "enterprise",
    "_vendor",
    "vendor",
    "vendored",
    "extern",
    "site-packages",
    "migrations",
    "locale",
    "node_modules",
    "_vendored",
}
TEST_SHARE = 4
"""One test file in this many is kept: tests repeat themselves, yet people do write them."""


@dataclass(slots=True)
class Source:
    """One file of the corpus before and after selection."""

    package: str
    version: str
    path: str
    data: bytes
    split: str = "train"

    @property
    def sha256(self) -> str:
        """The digest that the manifest names."""
        return hashlib.sha256(self.data).hexdigest()


def load_packages() -> list[dict[str, str]]:
    """The pinned packages, each with a licence of the allowed set."""
    packages = tomllib.loads((HERE / "packages.toml").read_text())["package"]
    for package in packages:
        parts = set(package["licence"].replace("(", " ").replace(")", " ").split(" AND "))
        parts = {p.strip() for p in parts}
        if not parts <= ALLOWED_LICENCES:
            raise SystemExit(f"{package['name']}: licence {package['licence']} is not in the allowed set")
    return packages


def download(work: Path) -> None:
    """Fetch every pinned wheel, without dependencies, skipping those already there."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for package in load_packages():
        if find_wheel(wheels, package) is not None:
            continue
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "--dest", str(wheels)]
        if "platform" in package:
            command += ["--platform", package["platform"]]
        subprocess.run([*command, f"{package['name']}=={package['version']}"], check=True)


def find_wheel(wheels: Path, package: dict[str, str]) -> Path | None:
    """The downloaded wheel of a pinned package, whatever its compatibility tags."""
    name = package["name"].lower().replace("-", "_").replace(".", "_")
    for wheel in sorted(wheels.glob("*.whl")):
        head = wheel.name.split("-")
        if head[0].lower().replace(".", "_") == name and head[1] == package["version"]:
            return wheel
    return None


def name_hash(*parts: str) -> int:
    """A stable number from a name: decides splits and samples without any random state."""
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:8], "big")


def wanted_path(path: str, package: str) -> bool:
    """False for what is no ordinary source: vendored trees, migrations, protobuf output, most tests."""
    parts = path.lower().split("/")
    name = parts[-1]
    if name.endswith(("_pb2.py", "_pb2_grpc.py")) or name in {"_version.py", "setup.py"}:
        return False
    tests = {"test", "tests", "testing"}
    is_test = bool(tests & set(parts[:-1])) or name.startswith(("test_", "conftest")) or name.endswith("_test.py")
    if is_test and (package == "cpython" or name_hash("test", package, path) % TEST_SHARE):
        return False
    return not ((SKIP_PARTS - tests) & set(parts[:-1]))


def wanted_text(data: bytes) -> bool:
    """False for empty, huge, undecodable or table-like files."""
    if not MIN_FILE <= len(data) <= MAX_FILE or b"\0" in data or b"\r" in data:
        return False
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    lines = text.split("\n")
    if len(text) / len(lines) > MAX_MEAN_LINE or max(map(len, lines)) > MAX_LINE:
        return False
    letters = sum(map(str.isalpha, text[:20_000]))
    return letters > 0.35 * min(len(text), 20_000)


def package_sources(work: Path) -> Iterator[Source]:
    """Every acceptable file of the standard library and of the pinned wheels, in a fixed order."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    version = sys.version.split()[0]
    for path in sorted(stdlib.rglob("*.py")):
        name = path.relative_to(stdlib).as_posix()
        if wanted_path(name, "cpython") and wanted_text(data := path.read_bytes()):
            yield Source("cpython", version, name, data)
    for package in load_packages():
        wheel = find_wheel(work / "wheels", package)
        if wheel is None:
            raise SystemExit(f"{package['name']} {package['version']} is not downloaded")
        with zipfile.ZipFile(wheel) as archive:
            found = [
                Source(package["name"], package["version"], name, data)
                for name in sorted(n for n in archive.namelist() if n.endswith(".py"))
                if wanted_path(name, package["name"]) and wanted_text(data := archive.read(name))
            ]
        found.sort(key=lambda s: name_hash("cap", s.package, s.path))
        size = 0
        for source in found:
            size += len(source.data)
            if size <= PACKAGE_CAP:
                yield source


def is_heldout(source: Source) -> bool:
    """Held out by name alone, decided before anything else is known about the file."""
    if source.package in HELDOUT_PACKAGES:
        return True
    return name_hash("split", source.package, source.path) % 10_000 < HELDOUT_PERCENT * 100


def drop_duplicates(sources: Iterable[Source]) -> list[Source]:
    """Remove exact and near duplicates; held-out files come first, so that the training copy is the one that goes."""
    kept: list[Source] = []
    digests: set[bytes] = set()
    seen: set[int] = set()
    for source in sources:
        digest = hashlib.sha256(source.data).digest()
        if digest in digests:
            continue
        digests.add(digest)
        lines = {zlib.crc32(s) for line in source.data.split(b"\n") if len(s := line.strip()) >= 12}
        if len(lines) < 3 or sum(line in seen for line in lines) > SEEN_LINES_LIMIT * len(lines):
            continue
        seen |= lines
        kept.append(source)
    return kept


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(tree: ast.AST) -> Iterator[FunctionNode]:
    """Every function of a file, nested ones and methods too, looking only where statements can stand."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, FunctionNode):
            yield node
        for field in ("body", "orelse", "handlers", "finalbody", "cases"):
            stack.extend(getattr(node, field, ()) if isinstance(getattr(node, field, None), list) else ())


def body_without_docstring(node: FunctionNode) -> list[ast.stmt]:
    """A function's statements, the docstring left out."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def shape(body: list[ast.stmt]) -> int:
    """A cheap necessary condition for two bodies to be equal, so that few of them need a full dump."""
    marks: list[str] = []
    for statement in body:
        value = getattr(statement, "value", None)
        called = getattr(value, "func", None)
        name = getattr(called, "attr", None) or getattr(called, "id", None) or getattr(value, "attr", "")
        marks.append(f"{type(statement).__name__}:{type(value).__name__}:{name}")
    return zlib.crc32("|".join(marks).encode())


def dump_body(body: list[ast.stmt]) -> bytes:
    """The normalised body: comments, layout and docstring do not count, names and constants do."""
    return hashlib.sha256("\n".join(ast.dump(statement) for statement in body).encode()).digest()


def parse(data: bytes) -> ast.Module | None:
    """The file's syntax tree, or None where this interpreter cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(data)
        except (SyntaxError, ValueError, RecursionError):
            return None


def heldout_bodies(data: bytes) -> list[tuple[int, bytes]]:
    """Shape and digest of each function body of three statements or more in a held-out file."""
    tree = parse(data)
    bodies = [body_without_docstring(node) for node in functions_of(tree)] if tree else []
    return [(shape(body), dump_body(body)) for body in bodies if len(body) >= 3]


FORBIDDEN: dict[int, set[bytes]] = {}


def forbid(pairs: list[tuple[int, bytes]]) -> None:
    """Tell a worker process which bodies may not occur in training."""
    for key, digest in pairs:
        FORBIDDEN.setdefault(key, set()).add(digest)


def examine(data: bytes) -> tuple[bool, list[dict[str, object]]] | None:
    """Of a training file: whether it holds a forbidden body, and the functions that can become chat pairs."""
    tree = parse(data)
    if tree is None:
        return None
    pairs: list[dict[str, object]] = []
    for node in functions_of(tree):
        body = body_without_docstring(node)
        if len(body) >= 3 and (bad := FORBIDDEN.get(shape(body))) and dump_body(body) in bad:
            return True, []
        doc = ast.get_docstring(node)
        if doc and body and 2 <= (node.end_lineno or 0) - body[0].lineno + 1 <= 30:
            first = " ".join(doc.split("\n\n")[0].split())
            if 12 <= len(first) <= 240 and node.body[0].end_lineno != body[0].lineno:
                pairs.append(
                    {
                        "name": node.name,
                        "doc": first,
                        "start": node.lineno,
                        "docline": node.body[0].lineno,
                        "body": (node.body[0].end_lineno or 0) + 1,
                        "end": node.end_lineno,
                    }
                )
    return False, pairs


def build(work: Path) -> None:
    """Select, split, deduplicate, remove overlap, and write text, index, chat pairs and manifest."""
    sources = list(package_sources(work))
    for source in sources:
        source.split = "heldout" if is_heldout(source) else "train"
    sources.sort(key=lambda s: s.split)  # "heldout" < "train"; the sort is stable
    before = sum(len(s.data) for s in sources)
    sources = drop_duplicates(sources)
    after = sum(len(s.data) for s in sources)
    print(f"{before / 1e6:.1f} MB selected, {after / 1e6:.1f} MB after duplicates", flush=True)
    heldout = [s for s in sources if s.split == "heldout"]
    train = [s for s in sources if s.split == "train"]
    with ProcessPoolExecutor() as pool:
        bodies = [pair for pairs in pool.map(heldout_bodies, (s.data for s in heldout), chunksize=32) for pair in pairs]
    with ProcessPoolExecutor(initializer=forbid, initargs=(bodies,)) as pool:
        verdicts = list(pool.map(examine, (s.data for s in train), chunksize=32))
    clean = [(s, v[1]) for s, v in zip(train, verdicts, strict=True) if v is not None and not v[0]]
    overlapping = sum(1 for v in verdicts if v is not None and v[0])
    print(f"{len(bodies)} held-out bodies; {overlapping} training files removed for holding one", flush=True)
    write_split(work, "heldout", [(s, []) for s in heldout])
    write_split(work, "train", clean)
    write_manifest([*heldout, *(s for s, _ in clean)])


def write_split(work: Path, split: str, items: list[tuple[Source, list[dict[str, object]]]]) -> None:
    """One blob of text with offsets, and beside it the names and the chat pairs."""
    offsets = np.cumsum([0, *(len(s.data) for s, _ in items)], dtype=np.int64)
    np.save(work / f"{split}.offsets.npy", offsets)
    with (work / f"{split}.bin").open("wb") as blob:
        for source, _ in items:
            blob.write(source.data)
    names = [f"{s.package}/{s.path}" for s, _ in items]
    pairs = [{"file": index, **pair} for index, (_, found) in enumerate(items) for pair in found]
    (work / f"{split}.json").write_text(json.dumps({"names": names, "pairs": pairs}))
    print(f"{split}: {len(items)} files, {offsets[-1] / 1e6:.1f} MB, {len(pairs)} documented functions", flush=True)


def write_manifest(sources: list[Source]) -> None:
    """Write, or compare with, the committed record of every file: package, version, path, size, digest and split."""
    rows = sorted(f"{s.package}\t{s.version}\t{s.path}\t{len(s.data)}\t{s.sha256}\t{s.split}\n" for s in sources)
    text = "package\tversion\tpath\tbytes\tsha256\tsplit\n" + "".join(rows)
    path = HERE / "manifest.tsv.xz"
    if not path.exists():
        path.write_bytes(lzma.compress(text.encode(), preset=9))
    elif lzma.decompress(path.read_bytes()).decode() != text:
        raise SystemExit("the files differ from manifest.tsv.xz; delete it to make a new one")


def read_split(work: Path, split: str) -> tuple[list[str], list[bytes]]:
    """Names and texts of a split, in the order in which they were written."""
    offsets = np.load(work / f"{split}.offsets.npy")
    blob = (work / f"{split}.bin").read_bytes()
    names = json.loads((work / f"{split}.json").read_text())["names"]
    return names, [blob[offsets[i] : offsets[i + 1]] for i in range(len(names))]


def kinds(body: list[ast.stmt]) -> tuple[str, ...]:
    """The statement types of a body: coarser than ``shape``, so that the check does not rest on that one."""
    return tuple(type(statement).__name__ for statement in body)


def long_bodies(data: bytes) -> Iterator[list[ast.stmt]]:
    """The function bodies of three statements or more, docstrings left out."""
    tree = parse(data)
    for node in functions_of(tree) if tree else ():
        if len(body := body_without_docstring(node)) >= 3:
            yield body


def check(work: Path) -> int:
    """Count held-out function bodies that occur in the written training text."""
    held: dict[tuple[str, ...], set[bytes]] = {}
    for data in read_split(work, "heldout")[1]:
        for body in long_bodies(data):
            held.setdefault(kinds(body), set()).add(dump_body(body))
    compared = common = 0
    for data in read_split(work, "train")[1]:
        for body in long_bodies(data):
            if digests := held.get(kinds(body)):
                compared += 1
                common += dump_body(body) in digests
    print(f"{sum(map(len, held.values()))} held-out bodies, {compared} training bodies compared, {common} in both")
    return common


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["download", "build", "check"])
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is not committed")
    arguments = parser.parse_args()
    if arguments.step == "download":
        download(arguments.work)
    elif arguments.step == "build":
        build(arguments.work)
    elif check(arguments.work):
        raise SystemExit("held-out function bodies occur in training")


if __name__ == "__main__":
    main()
