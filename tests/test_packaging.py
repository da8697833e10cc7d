"""The package is one distribution over three source roots, and each root reaches the user."""

import importlib
import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOTS = ("contracts", "otel", "services")
PACKAGES = sorted(
    path.parent.name for root in ROOTS for path in REPOSITORY.glob(f"{root}/droveway/*/__init__.py")
)


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=30,
    )
    (wheel,) = folder.glob("droveway-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("root", ROOTS)
def test_no_root_hides_the_other_two(root: str) -> None:
    portion = REPOSITORY / root / "droveway"
    assert portion.is_dir()
    assert not (portion / "__init__.py").exists()


@pytest.mark.parametrize("root", ROOTS)
def test_every_folder_with_modules_is_a_package(root: str) -> None:
    portion = REPOSITORY / root / "droveway"
    folders = {path.parent for path in portion.rglob("*.py")}
    assert folders
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_importable(package: str) -> None:
    module = importlib.import_module(f"droveway.{package}")
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(REPOSITORY)


@pytest.mark.parametrize("root", ROOTS)
def test_the_wheel_contains_the_whole_root(root: str, wheel_files: set[str]) -> None:
    source = REPOSITORY / root
    expected = {path.relative_to(source).as_posix() for path in source.glob("droveway/**/*.py")}
    assert expected
    assert expected - wheel_files == set()


def test_the_wheel_contains_no_tests_and_no_deployment(wheel_files: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_files}
    version = importlib.metadata.version("droveway")
    assert tops == {"droveway", f"droveway-{version}.dist-info"}


def test_the_command_is_installed_and_its_function_exists() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="droveway")
    assert callable(command.load())
    assert Path(sys.executable).with_name("droveway").exists()
