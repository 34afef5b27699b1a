"""The report's bytes: shared vectors, every field, every bound (challenge.md §4)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from chain_types import report, scale

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "challenge.json").read_text(encoding="utf-8")
)["reports"]


@pytest.fixture(params=range(len(VECTORS)))
def vector(request: pytest.FixtureRequest) -> dict[str, str]:
    return VECTORS[request.param]


def test_vectors_round_trip_byte_for_byte(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["report"])
    decoded = report.decode_report(data)
    assert report.encode_report(decoded) == data
    assert decoded.w.hex() == vector["w"]
    assert decoded.audit_key.hex() == vector["audit_key"]
    assert data.endswith(report.encode_body(decoded.body))
    assert report.decode_body(report.encode_body(decoded.body)) == decoded.body


def test_vectors_carry_the_drawn_metric(vector: dict[str, int]) -> None:
    outcome = report.decode_report(bytes.fromhex(str(vector["report"]))).body.outcome
    assert isinstance(outcome, report.Served)
    assert len(outcome.sizes) == len(vector["proved"])  # type: ignore[arg-type]
    assert (outcome.metrics.throughput is not None) == bool(vector["windowed"])
    assert (outcome.metrics.latency_us is None) == bool(vector["windowed"])


def test_no_vector_survives_truncation_or_an_extra_byte(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["report"])
    with pytest.raises(scale.DecodeError, match="1 bytes follow the value"):
        report.decode_report(data + b"\0")
    for length in range(0, len(data), 7):
        with pytest.raises(scale.DecodeError):
            report.decode_report(data[:length])


def test_an_error_names_the_field() -> None:
    decoded = report.decode_report(bytes.fromhex(VECTORS[0]["report"]))
    served = decoded.body.outcome
    assert isinstance(served, report.Served)
    node = dataclasses.replace(served.nodes[1], size=2**64)
    wrong = dataclasses.replace(served, nodes=(served.nodes[0], node))
    body = dataclasses.replace(decoded.body, outcome=wrong)
    with pytest.raises(scale.EncodeError, match=r"^outcome\.Served\.nodes\[1\]\.size: "):
        report.encode_body(body)


def test_failed_report_has_the_specified_bytes() -> None:
    body = report.Body(
        outcome=report.Failure(report.Reason.TIMEOUT, demand=5),
        peers=(report.PeerMetrics(3, 1_000, 2_000),),
    )
    expected = "01070105000000000000000403e8030000d007000000000000"
    assert report.encode_body(body).hex() == expected


@pytest.mark.parametrize(
    ("outcome", "tail", "field"),
    [
        ("02", "", "outcome"),
        ("0108", "", r"outcome\.Failed\.reason"),
        ("010702", "", r"outcome\.Failed\.demand"),
        ("010000", "80", r"peers"),
    ],
)
def test_undefined_values_are_refused_by_name(outcome: str, tail: str, field: str) -> None:
    with pytest.raises(scale.DecodeError, match=f"^{field}: "):
        report.decode_body(bytes.fromhex(outcome + tail))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("receipt", bytes(report.MAX_RECEIPT_BYTES + 1)),
        ("sizes", (0,) * (report.MAX_ENTRIES + 1)),
        ("nodes", (report.Node(bytes(32), 0),) * (report.MAX_NODES + 1)),
        ("head_signature", bytes(63)),
    ],
)
def test_bounds_hold_when_encoding(field: str, value: object) -> None:
    served = report.decode_report(bytes.fromhex(VECTORS[0]["report"])).body.outcome
    assert isinstance(served, report.Served)
    with pytest.raises(scale.EncodeError, match=field):
        scale.struct(report.Served).encode(dataclasses.replace(served, **{field: value}))


def test_bounds_hold_before_anything_is_allocated() -> None:
    claimed = scale.Compact().encode(2**31)
    with pytest.raises(scale.DecodeError, match="receipt: 2147483648 bytes, at most 6144 allowed"):
        scale.struct(report.Served).decode(claimed)


@pytest.mark.parametrize(
    "proof",
    [
        report.Equivocation(1, 2, b"a" * 200, b"b"),
        report.BadReveal(1, 2**31, b"", b"b"),
        report.FalseReceipt(b"h" * 32, b"r", 9, bytes(32), (1, 2), (report.Node(bytes(32), 3),)),
    ],
)
def test_proofs_round_trip(
    proof: report.Equivocation | report.BadReveal | report.FalseReceipt,
) -> None:
    assert report.decode_proof(report.encode_proof(proof)) == proof


@pytest.mark.parametrize(
    "answer",
    [
        report.Chunk(bytes(128 * 1024), 5, bytes(64), (1,), ()),
        report.Rewritten(1, 2, bytes(32), bytes(64)),
    ],
)
def test_answers_round_trip(answer: report.Chunk | report.Rewritten) -> None:
    assert report.decode_answer(report.encode_answer(answer)) == answer
