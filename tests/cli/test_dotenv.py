from pathlib import Path

import pytest

from droveway.cli import dotenv
from droveway.runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("A = b ", "b"),
        ("export A=b", "b"),
        ("A=b # why", "b"),
        ("A=b#c", "b#c"),
        ("A=# nothing", ""),
        ("A=hello world", "hello world"),
        ("A=https://h/v1?a=b", "https://h/v1?a=b"),
        ("A='b # c'", "b # c"),
        ("A='b' # c", "b"),
        (r"A='b\n'", r"b\n"),
        (r'A="b\n\"c\" \$x \\"', 'b\n"c" $x \\'),
        ("A=$HOME/${X}", "$HOME/${X}"),
        ("A=1\nA=2", "2"),
        ("\n# A=0\n\r\nA=1\r\n", "1"),
    ],
)
def test_a_line_gives_a_value(line: str, value: str) -> None:
    assert dotenv.parse(line, ".env") == {"A": value}


@pytest.mark.parametrize("line", ["A", "1A=b", "A-B=c", "A: b", "=b", "A='b", 'A="b', "A='b' c"])
def test_another_form_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(SettingsError, match=r"\.env:2: "):
        dotenv.parse(f"OK=1\n{line}", ".env")


def test_a_message_never_holds_the_value() -> None:
    with pytest.raises(SettingsError) as caught:
        dotenv.parse(r'KEY="sk-secret\q"', ".env")
    assert "sk-secret" not in str(caught.value)


def test_a_file_may_be_missing_and_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert dotenv.read(path) == {}
    path.write_bytes(b"\xef\xbb\xbfA=1\n")
    assert dotenv.read(path) == {"A": "1"}
    path.write_bytes(b"A=\xff\n")
    with pytest.raises(SettingsError, match="can't be read"):
        dotenv.read(path)


def test_the_example_in_the_repository_is_read() -> None:
    assert dotenv.read(Path(__file__).parents[2] / ".env.example") == {}
