"""Code and its cache of compiled modules."""

import logging
from pathlib import Path

import pytest
import wasmtime
import zstandard

from datdot_node import blob
from datdot_node.blob import COMPRESSED_MAGIC, decompress, load
from datdot_node.errors import BadRuntime

CODE = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) (i32.const 7)))'))
ENGINE = blob.engine()


def test_compressed_and_plain_code() -> None:
    packed = COMPRESSED_MAGIC + zstandard.ZstdCompressor().compress(CODE)
    assert decompress(packed) == decompress(CODE) == CODE


@pytest.mark.parametrize("code", [b"", b"nothing", COMPRESSED_MAGIC, COMPRESSED_MAGIC + b"garbage"])
def test_other_bytes_are_refused(code: bytes) -> None:
    with pytest.raises(BadRuntime):
        decompress(code)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob, "MAX_CODE", 1000)
    packed = COMPRESSED_MAGIC + zstandard.ZstdCompressor().compress(CODE + bytes(1000))
    with pytest.raises(BadRuntime, match="larger than 1000"):
        decompress(packed)


def test_damaged_code_is_refused() -> None:
    with pytest.raises(BadRuntime, match="does not compile"):
        load(ENGINE, CODE[:-3], None)


def exports(module: wasmtime.Module) -> list[str]:
    return [str(each.name) for each in module.exports]


def test_the_second_time_it_comes_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exports(load(ENGINE, CODE, tmp_path / "cache")) == ["f"]
    (cached,) = (tmp_path / "cache").iterdir()
    assert cached.stat().st_mode & 0o077 == 0

    def no_more(code: bytes) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(blob, "decompress", no_more)
    assert exports(load(ENGINE, CODE, tmp_path / "cache")) == ["f"]


def test_a_cache_that_others_can_write_or_that_is_damaged_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(ENGINE, CODE, tmp_path)
    (cached,) = tmp_path.iterdir()
    cached.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        assert exports(load(ENGINE, CODE, tmp_path)) == ["f"]
    assert "others may have written it" in caplog.text
    assert cached.stat().st_mode & 0o077 == 0
    cached.write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        assert exports(load(ENGINE, CODE, tmp_path)) == ["f"]
    assert "not using the cached runtime" in caplog.text


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert exports(load(ENGINE, CODE, tmp_path / "file")) == ["f"]
    assert "cannot keep the compiled runtime" in caplog.text
