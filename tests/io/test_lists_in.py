"""Tables that people write by hand: hospitals and the ledger, in the encodings and dates they use."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from grouper import CaseSchemaError, read_hospitals, read_ledger

LEDGER = (
    "entry_id,kind,pool_id,hospital_id,settlement_month,amount,reason,entered_on\n"
    "1,deduction,employee,H1,2025-02,-120.50,违规费用,2025/2/3\n"
    "\n"
    "2,prepayment,employee,H2,,500000,预付金,2025-01-05\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_ledger_is_read_in_what_excel_saves(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_bytes(LEDGER.encode(encoding))
    found = read_ledger(path).to_pylist()
    assert [r["reason"] for r in found] == ["违规费用", "预付金"]
    assert [r["entered_on"] for r in found] == [date(2025, 2, 3), date(2025, 1, 5)]
    assert [r["amount"] for r in found] == ["-120.50", "500000"]
    assert found[1]["settlement_month"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LEDGER.replace("2025/2/3", "2025/2/30"), "ledger.csv:2: entered_on '2025/2/30' is no day"),
        (LEDGER.replace("违规费用,", ""), "ledger.csv:2: 7 cells where the header has 8"),
        ("entry_id,amount_fen\n1,x\n", "column 'kind' of the ledger entries is missing"),
        ("entry_id,kind,amount_fen\n1,hold,1.5\n", "ledger.csv:2: amount_fen '1.5' is no whole"),
        ("", "it has nothing"),
    ],
)
def test_a_fault_says_row_and_field(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(CaseSchemaError) as e:
        read_ledger(path)
    assert message in str(e.value)


def test_hospitals_keep_their_zeros_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "hospitals.csv"
    text = "hospital_id,hospital_level,valid_from,valid_to\n007,三级,2025.1.1,\n"
    path.write_bytes(text.encode("gb18030"))
    assert read_hospitals(path).to_pylist() == [
        {
            "hospital_id": "007",
            "hospital_level": "三级",
            "valid_from": date(2025, 1, 1),
            "valid_to": None,
        }
    ]
