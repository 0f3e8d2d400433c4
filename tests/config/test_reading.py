"""YAML without its surprises, and within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_capacity.config import backend_of, why_no_backend
from pytest_capacity.config.reading import read_mapping
from pytest_capacity.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "capacity.yaml"


def test_words_stay_words(file: Path) -> None:
    """YAML 1.1 would read on, no, 1:30 and 0123 as other things than they look like."""
    file.write_text(
        "on: no\nduration: 1:30\nday: 2024-01-01\naccount: 012345670123\nreally: true\ncount: 3\nprice: .5\n"
    )
    assert read_mapping(file) == {
        "on": "no",
        "duration": "1:30",
        "day": "2024-01-01",
        "account": "012345670123",
        "really": True,
        "count": 3,
        "price": 0.5,
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_is_an_empty_mapping(file: Path, text: str) -> None:
    """A file of comments asks for nothing; it is no fault of form."""
    file.write_text(text)
    assert read_mapping(file) == {}


def test_merge_keys_may_be_overridden(file: Path) -> None:
    """An anchor's key that the group sets itself is no duplicate, wherever the anchor stands."""
    file.write_text("x: {c: &c {<<: &b {count: 1, image: i}, count: 2}}\nd: {<<: *c, count: 3}\n")
    assert read_mapping(file)["d"] == {"count": 3, "image": "i"}
    assert read_mapping(file)["x"] == {"c": {"count": 2, "image": "i"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' for the second time"),
        ("groups: {db: {count: 1, count: 2}}\n", "the key 'count' for the second time"),
        ("1: a\n", "the key '1'"),
        ("null: a\n", "quote it"),
        ("? [a]\n: b\n", "a key that is not a text"),
        ("- a\n", "holds a list"),
        ("just words\n", "holds a text"),
        ("7\n", "holds one int"),
        ("a: [1\nb: 2\n", "not YAML"),
        ("a: *nowhere\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("a: !!python/object/apply:os.system [x]\n", "the tag"),
        ("a: !!bool maybe\n", "the tag"),
        ("a: &a [*a]\n", "aliases that unfold"),
        ("a: " + "[" * 3000 + "\n", "nested deeper"),
        ("a: &a [" + "1," * 100 + "]\nb: &b [" + "*a," * 100 + "]\nc: [" + "*b," * 100 + "]\n", "aliases that unfold"),
    ],
)
def test_faults_name_file_and_cause(file: Path, text: str, words: str) -> None:
    """Every bad file is a ConfigError of one line that begins with the file; nothing else gets out."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_mapping(file)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{file}: ")
    assert words in fault
    assert "\n" not in fault


def test_a_huge_file_is_refused_unread(file: Path) -> None:
    """More than 1 MiB is some other file."""
    file.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_mapping(file)


def test_bytes_that_are_no_text(file: Path) -> None:
    """A binary is said to be none of ours."""
    file.write_bytes(b"a: \xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match="Save it as UTF-8"):
        read_mapping(file)


@pytest.mark.parametrize(
    ("text", "encoding", "why"),
    [
        ("# für alle\nbackend: aws\n", "latin-1", "invalid start byte"),
        ("backend: aws\n", "utf-32", "unacceptable character|special characters are not allowed"),
    ],
)
def test_another_encoding_is_named_as_the_reason(file: Path, text: str, encoding: str, why: str) -> None:
    """The reason is what is wrong with the bytes, and not that a key is missing; YAML itself knows UTF-16."""
    file.write_bytes(text.encode(encoding))
    with pytest.raises(ConfigError, match=f"not YAML: .*({why}).* Save it as UTF-8 text"):
        read_mapping(file)
    file.write_text(text, encoding="utf-16")
    assert read_mapping(file) == {"backend": "aws"}


def test_the_files_lines_are_not_quoted(file: Path) -> None:
    """A file that is not YAML may hold a secret on the line that is wrong."""
    file.write_text("password: 'hunter2\nendpoint: [\n")
    with pytest.raises(ConfigError) as caught:
        read_mapping(file)
    assert "hunter2" not in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    """The operating system's words, and what to do."""
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read: .*Name a file that is there"):
            read_mapping(path)


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("backend: aws\n", "aws"),
        ("# a comment\n\nregions: [x]\nbackend:   'aws' # yes\n", "aws"),
        ('"backend": "gce"\n', "gce"),
        ("{backend: aws, regions: [us-east-1]}\n", "aws"),
        ("  backend: aws\n  regions: [x]\n", "aws"),
        ("\ufeffbackend: aws\n", "aws"),
        ("backend: aws\r\n", "aws"),
        ("backend:\nregions: [x]\n", None),
        ("backend: null\n", None),
        ("backend: Null\n", None),
        ("backend: NULL # none\n", None),
        ("backend: 'null'\n", "null"),
        ("# backend: aws\n", None),
        ("groups:\n  backend: {count: 1}\n", None),
        ("{groups: {backend: {count: 1}}}\n", None),
        ("{backend: [", None),
        ("", None),
    ],
)
def test_backend_of(file: Path, text: str, backend: str | None) -> None:
    """The glance sees the backend that the reader would see."""
    file.write_bytes(text.encode())
    assert backend_of(file) == backend


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_backend_of_another_encoding(file: Path, encoding: str) -> None:
    """The file's key is seen, so that the reader is asked, which says what is wrong."""
    file.write_bytes("# f\xfcr\nbackend: aws\n".encode(encoding))
    assert backend_of(file) == "aws"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("backned: aws\n", "it has no `backend:`. Did you mean that by `backned:`?"),
        ("regions: [x]\n", "it has no `backend:`"),
        ("backend: Null\n", "its `backend:` is empty"),
        ("regions: [\n", "not YAML"),
    ],
)
def test_why_no_backend(file: Path, text: str, why: str) -> None:
    """The true reason, with the file's name."""
    file.write_text(text)
    assert why_no_backend(file).startswith(f"{file}: ")
    assert why in why_no_backend(file)


def test_backend_of_no_file(tmp_path: Path) -> None:
    """No file, a directory, a binary: no backend, and no error for a run that does not use us."""
    binary = tmp_path / "capacity.yaml"
    binary.write_bytes(b"\xff\xfebackend: aws")
    assert [backend_of(path) for path in (tmp_path / "none", tmp_path, binary)] == [None, None, None]
