"""The bill of materials (CycloneDX, JSON) of the program and of the extension.

What is Python is told by cyclonedx-py about the environment that was packed, what is bundled into the extension by
npm; both know more than is given away, so what is not inside is dropped. What neither knows (CPython, llama.cpp,
PyInstaller's bootloader, the system's libraries, the embedded model) is added from the list that ``licences.py`` wrote.
The result is checked against CycloneDX's own schema, and has neither a time nor a serial number: the same parts always
make the same file.

Run it with the environment of the binary::

    sbom.py program COMPONENTS --output FILE
    sbom.py extension --output FILE
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from components import ROOT, normalized, own_version

SPEC_VERSION = "1.6"
EXTENSION = ROOT / "vscode-extension"
MODEL = ROOT / "daemon" / "botframework" / "embedded" / "model.gguf"
NOTICES = EXTENSION / "dist" / "ThirdPartyNotices.txt"
"""Written by the extension's build: each bundled package opens with ``name version (licence)``."""
NOTICE_HEAD = re.compile(r"^(\S+) (\S+) \(.+\)$")
NOTICE_RULE = "-" * 80
TYPES = {
    "interpreter": "platform",
    "bootloader": "library",
    "library": "library",
    "system": "library",
    "model": "machine-learning-model",
}
"""The kinds of components that cyclonedx-py does not tell about, to CycloneDX's words."""

Json = dict[str, Any]


def main() -> int:
    """Write one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    of = parser.add_subparsers(dest="of", required=True)
    program_of = of.add_parser("program", help="the packed program")
    program_of.add_argument("components", type=Path, metavar="COMPONENTS", help="what licences.py wrote")
    extension_of = of.add_parser("extension", help="the extension's bundle, after its build")
    for each in (program_of, extension_of):
        each.add_argument("--output", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    bill = program(json.loads(options.components.read_text("utf-8"))) if options.of == "program" else extension()
    text = json.dumps(bill, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    check(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text, encoding="utf-8")
    print(f"sbom: {options.output}, {len(bill['components'])} components")
    return 0


def program(inside: list[Json]) -> Json:
    """The bill of the program, from what is inside."""
    told = _run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")),
        *("--spec-version", SPEC_VERSION, "--output-format", "JSON", "--output-reproducible", sys.executable),
    )
    kept = {normalized(each["name"]) for each in inside if each["kind"] == "python"}
    bill = only(json.loads(told), lambda component: normalized(component["name"]) in kept)
    missing = kept - {normalized(component["name"]) for component in bill["components"]}
    if missing:
        raise SystemExit(f"sbom: cyclonedx-py says nothing of {', '.join(sorted(missing))}")
    others = [_component(each) for each in inside if each["kind"] in TYPES]
    bill["components"] += others
    add_dependencies(bill, [component["bom-ref"] for component in others])
    _settle(bill, "botframework")
    return bill


def add_dependencies(bill: Json, refs: list[str]) -> None:
    """Note that the program itself needs these, and these nothing."""
    root = bill["metadata"]["component"]["bom-ref"]
    known = {each["ref"]: each for each in bill["dependencies"]}
    known.setdefault(root, {"ref": root})
    known[root]["dependsOn"] = sorted({*known[root].get("dependsOn", ()), *refs})
    bill["dependencies"] = [*known.values(), *({"ref": ref} for ref in refs)]


def _component(each: Json) -> Json:
    component: Json = {
        "type": TYPES[each["kind"]],
        "bom-ref": f"{each['name']}@{each['version']}",
        "name": each["name"],
        "version": each["version"],
    }
    if each["licence"]:
        component["licenses"] = [{"license": {"name": each["licence"]}}]
    if each["purl"]:
        component["purl"] = each["purl"]
    if each["kind"] == "model":
        component["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(MODEL.read_bytes()).hexdigest()}]
    return component


def extension() -> Json:
    """The bill of what is bundled into the extension."""
    npm = shutil.which("npm", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if npm is None:
        raise SystemExit("sbom: npm is missing; `make extension` installs it into .venv/bin")
    told = _run(npm, "sbom", "--sbom-format", "cyclonedx", "--sbom-type", "application", "--package-lock-only")
    bundled = set(read_notices(NOTICES.read_text(encoding="utf-8")))
    bill = only(json.loads(told), lambda component: (_npm_name(component), component["version"]) in bundled)
    missing = bundled - {(_npm_name(component), component["version"]) for component in bill["components"]}
    if missing:
        raise SystemExit(f"sbom: npm says nothing of {', '.join(' '.join(each) for each in sorted(missing))}")
    _settle(bill, "botframework-vscode")
    return bill


def read_notices(text: str) -> list[tuple[str, str]]:
    """Name and version of each package of the extension's notices."""
    parts = text.split(f"\n{NOTICE_RULE}\n\n")
    heads = [NOTICE_HEAD.match(part.splitlines()[0]) for part in parts]
    if not all(heads):
        raise SystemExit("sbom: ThirdPartyNotices.txt is not as esbuild.mjs writes it")
    return [(head[1], head[2]) for head in heads if head]


def _npm_name(component: Json) -> str:
    group = component.get("group")
    return f"{group}/{component['name']}" if group else str(component["name"])


def only(bill: Json, is_inside: Any) -> Json:
    """A bill without the components that are not inside; they leave no reference behind."""
    kept = [component for component in bill["components"] if is_inside(component)]
    root = bill["metadata"]["component"]["bom-ref"]
    refs = {root, *(component["bom-ref"] for component in kept)}
    dependencies = [
        {**each, "dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in refs]}
        for each in bill.get("dependencies", ())
        if each["ref"] in refs
    ]
    return {**bill, "components": kept, "dependencies": dependencies}


def _settle(bill: Json, name: str) -> None:
    """Name what the bill is of, put it in order, and take out what differs from run to run."""
    bill.pop("serialNumber", None)
    bill["metadata"].pop("timestamp", None)
    bill["metadata"]["component"] |= {"type": "application", "name": name, "version": own_version()}
    bill["dependencies"].sort(key=lambda each: str(each["ref"]))
    bill["components"].sort(key=lambda component: (component["name"].lower(), component["version"]))
    for component in bill["components"]:
        component.pop("properties", None)
        references = component.pop("externalReferences", [])
        # A folder of the machine that made it says nothing to anybody else.
        if public := [each for each in references if each["url"].startswith("https://")]:
            component["externalReferences"] = public


def check(text: str) -> None:
    """Compare with CycloneDX's schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    if (error := JsonStrictValidator(version).validate_str(text)) is not None:
        raise SystemExit(f"sbom: it is not what CycloneDX allows: {error}")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXTENSION)
    if done.returncode != 0:
        raise SystemExit(f"sbom: {' '.join(command[:3])} … ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
