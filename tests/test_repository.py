"""What the repository promises: two commands, pinned dependencies, no private address."""

import fnmatch
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
CONSTRAINTS = sorted(path.name for path in REPOSITORY.glob("constraints*.txt"))
SDK_INPUTS = sorted(path.stem for path in REPOSITORY.glob("tests/sdks/*.in"))
INDEX_ADDRESS = re.compile(
    r"\b(pypi|pythonhosted|npmjs|deb\.debian|yarnpkg)\.(org|com)\b|--(extra-)?index-url"
)
PRIVATE_PATH = re.compile(r"(?<![\w.}-])/(work|root|Users)/")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ; .+)? \\$", re.MULTILINE)


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    text = text_of(name)
    return {canonicalize_name(package): version for package, version in PIN.findall(text)}


def source_files() -> Iterator[Path]:
    """Walks the files that git would track, also where the tree came without git."""
    ignored = [line.rstrip("/") for line in text_of(".gitignore").split()]
    ignored.append(".git")
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if not matches(name, ignored)]
        yield from (Path(folder, name) for name in names if not matches(name, ignored))


def matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=REPOSITORY,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def make_targets() -> set[str]:
    makefile = text_of("Makefile")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def markdown_files() -> list[Path]:
    return [path for path in source_files() if path.suffix == ".md"]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_constraint_has_one_version_and_hashes(name: str) -> None:
    text = text_of(name)
    entries = re.split(
        r"^(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE
    )
    packages = [entry for entry in entries if entry.strip()]
    assert packages
    assert [entry for entry in packages if not PIN.match(entry)] == []
    assert [entry for entry in packages if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_no_constraint_names_an_address(name: str) -> None:
    assert "://" not in text_of(name)


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))
    wanted = {
        "constraints.txt": project["project"]["dependencies"],
        "constraints-dev.txt": project["dependency-groups"]["dev"],
        "constraints-local-model.txt": project["project"]["optional-dependencies"]["local-model"],
        "constraints-build.txt": project["build-system"]["requires"],
    }
    stale = [
        f"{name}: {line}"
        for name, lines in wanted.items()
        for line in lines
        if not satisfied(Requirement(line), pins(name))
    ]
    assert stale == [], "run make constraints"


def satisfied(requirement: Requirement, pinned: dict[str, str]) -> bool:
    version = pinned.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-build.txt"])
def test_tests_run_with_the_versions_that_users_run(name: str) -> None:
    tested = pins("constraints-dev.txt")
    differing = {
        package
        for package, version in pins(name).items()
        if tested.get(package, version) != version
    }
    assert differing == set()
    assert pins("constraints.txt").keys() <= tested.keys()


def test_each_sdk_has_constraints() -> None:
    assert SDK_INPUTS
    assert [name for name in SDK_INPUTS if f"constraints-sdk-{name}.txt" not in CONSTRAINTS] == []


def test_no_file_names_a_package_index_or_a_private_path() -> None:
    found = []
    for path in source_files():
        text = path.read_bytes().decode(errors="replace")
        for pattern in (INDEX_ADDRESS, PRIVATE_PATH):
            found += [f"{path.relative_to(REPOSITORY)}: {hit[0]}" for hit in pattern.finditer(text)]
    assert found == []


def test_make_alone_prints_every_target() -> None:
    outcome = make()
    assert outcome.returncode == 0, outcome.stderr
    listed = set(re.findall(r"^  make ([a-z-]+) ", outcome.stdout, re.MULTILINE))
    assert listed == make_targets()
    assert {"run", "test", "check"} <= listed


def test_every_make_target_that_a_document_names_exists() -> None:
    named = {
        (path.name, target)
        for path in markdown_files()
        for target in re.findall(
            r"(?:`|^\$? ?)make ([a-z][a-z-]*)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {hit for hit in named if hit[1] not in make_targets()} == set()


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    assert command in text_of("README.md")


def test_both_readmes_have_the_same_shape() -> None:
    english, chinese = (text_of(name) for name in ("README.md", "README.zh-CN.md"))
    assert code_blocks(english) == code_blocks(chinese)
    assert heading_levels(english) == heading_levels(chinese)
    assert table_lines(english) == table_lines(chinese)


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```[^\n]*\n.*?^```$", text, re.MULTILINE | re.DOTALL)


def table_lines(text: str) -> list[int]:
    """How many each section has, and each part of a table that has a line of its own."""
    sections = re.split(r"^(?:#+ |\| \*\*[^|]*\*\* \|[ |]*$)", text, flags=re.MULTILINE)
    return [len(re.findall(r"^\|", one, re.MULTILINE)) for one in sections]


def heading_levels(text: str) -> list[int]:
    prose = re.sub(r"^```[^\n]*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("sys.modules['ensurepip'] = None", "apt-get install python3-venv"),
        ("sys.version_info = (3, 10, 0)", "Python 3.11 or newer is needed"),
    ],
    ids=["without venv", "too old"],
)
def test_set_up_says_what_to_install(change: str, advice: str, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f"""#!/bin/sh
[ "$1" = -c ] || exec "{shutil.which("python3")}" "$@"
exec "{shutil.which("python3")}" -c "import sys; {change}; exec(sys.argv[1])" "$2"
"""
    )
    python.chmod(0o755)
    outcome = make("run", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert outcome.returncode != 0
    assert advice in outcome.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.ops
@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--quiet", "--config", ".github/zizmor.yml"],
    ],
    ids=lambda command: command[0],
)
def test_the_forge_workflows_are_valid(command: list[str]) -> None:
    workflows = sorted(map(str, REPOSITORY.glob(".github/workflows/*.yml")))
    outcome = subprocess.run(
        [*command, *workflows],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
