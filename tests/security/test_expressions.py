"""Rules, formulas and settings from strangers: refused at once, never run, never without an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from policies import POLICY, TABLES
from tiny import tiny_scheme

from grouper import GrouperError, PolicyError, RuleError, TableError, load_drg
from grouper.tables import load_policy
from grouper.tables._files import parse_toml
from grouper.tables._formula import FormulaError, parse_formula, pieces
from grouper.tables._rules import MAX_SIGNS, parse

pytestmark = pytest.mark.promise("Expressions cannot loop and cannot reach Python")

LIMIT = 2.0
"""Seconds that a refusal may take."""

PYTHON = [
    "__import__('os').system('touch owned')",
    "().__class__.__bases__[0].__subclasses__()",
    "[x for x in range(9)]",
    "(lambda: 0)()",
    "open('owned', 'w')",
    "exec('1')",
    "eval('1')",
    "f'{1}'",
    "1 if 1 else 1",
    "full.real",
    "ratio.__class__",
    "NL.__class__ > 1",
    "print(1)",
    "a := 1",
    "x = 1",
    "1; 2",
    "1\\\n+2",
    "`ls`",
    "$(ls)",
    "{{7*7}}",
    "%s%s%n",
    "1e400",
    "0x10",
    "1_000",
    "1j",
    "2 ** 9999999",
    "9 // 0",
    "１＋１",
    "\x00",
]


def refused(
    error: type[Exception] | tuple[type[Exception], ...], work: Callable[[], Any]
) -> Exception:
    """Run what has to be refused; return the refusal."""
    start = time.perf_counter()
    with pytest.raises(error) as e:
        work()
    assert time.perf_counter() - start < LIMIT
    assert len(str(e.value)) < 100_000
    return e.value


# ------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize("text", PYTHON)
def test_python_in_a_rule_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(RuleError, lambda: parse(text))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "(" * 1_000_000,
        "x" * (1 << 20),
        " or ".join(["NL>70"] * 1_000_000),
        " and ".join(["(NL>70 or NL<3)"] * 100_000),
        f"NL>{'9' * 1_000_000}",
        "NL>99999999999",
        "not " * 1_000_000,
        "{" * 1_000_000,
        "'" * 999_999,
        "\ufdfa" * 1_000_000,
        "\ufdfa" * 10_000,
        " " * (1 << 20) + "(",
        "NL>70 or " * 3_000,
    ],
    ids=lambda t: f"{t[:12]!r}×{len(t)}",
)
def test_a_rule_without_measure_is_refused_at_once(text: str) -> None:
    refused(RuleError, lambda: parse(text))


def test_a_rule_may_be_as_long_as_a_cell() -> None:
    text = " or ".join(["NL>70"] * 3_600)
    assert len(text) < MAX_SIGNS
    assert len(getattr(parse(text), "parts")) == 3_600  # noqa: B009
    with pytest.raises(RuleError, match=r"column 32768 .* more than 32767 signs; make a set"):
        parse(text + " " * MAX_SIGNS)


def test_rules_of_many_branches_compile_in_no_time(tmp_path: Path) -> None:
    """A rule is a chain of tests: what and/or of 500 brackets means is never multiplied out."""
    rule = " and ".join(["(NL>1 or NL<2 or ZYZD in DX)"] * 500)
    start = time.perf_counter()
    load_drg(tiny_scheme(tmp_path / "s", adrg=[("AA1", rule)]))
    assert time.perf_counter() - start < LIMIT


def test_a_set_cannot_name_a_set(tmp_path: Path) -> None:
    """Members are codes: names that refer to each other are codes that no case has."""
    sets = {"DX": ["dx", "B"], "B": ["DX"]}
    assert load_drg(tiny_scheme(tmp_path / "s", sets=sets)).id == "s"


def test_a_cell_that_csv_does_not_take_is_refused(tmp_path: Path) -> None:
    folder = tiny_scheme(tmp_path / "s", adrg=[("AA1", " or ".join(["NL>70"] * 100_000))])
    refused(TableError, lambda: load_drg(folder))


# ---------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("text", PYTHON)
def test_python_in_a_formula_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(FormulaError, lambda: parse_formula(text))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "full" + ")" * 10_000,
        "x" * (1 << 20),
        "+".join(["full"] * 1_000_000),
        "9" * 1_000_000,
        "-" * 1_000_000 + "1",
        "min(" * 13 + "full",
        "-" * 100 + "1",
    ],
    ids=lambda t: f"{t[:8]!r}×{len(t)}",
)
def test_a_formula_without_measure_is_refused_at_once(text: str) -> None:
    refused(FormulaError, lambda: parse_formula(text))


def test_a_formula_of_the_greatest_numbers_ends() -> None:
    text = "*".join(["9" * 30] * 6)
    start = time.perf_counter()
    pieces(parse_formula(text), {}, Fraction(1), 0, 10**15)
    assert time.perf_counter() - start < LIMIT


@pytest.mark.parametrize("text", ["full / 0", "full / (1 - 1)", "0 / 0", "1 / (ratio - ratio)"])
def test_a_division_by_nothing_is_refused(text: str) -> None:
    known = dict.fromkeys(("full", "bare"), Fraction(1))
    with pytest.raises(FormulaError, match=r"division by 0|divide by a constant"):
        pieces(parse_formula(text), known, Fraction(1), 0, 10**6)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "full.real", "point_value", "f(1)", "(" * 50, "x" * 5_000]
)
def test_a_policy_says_where_its_formula_is_wrong(text: str, tmp_path: Path) -> None:
    band = f'pay = "formula"\nformula = """{text}"""'
    policy = POLICY.replace('pay = "excess"\nshare = 0.8', band)
    assert policy != POLICY
    for name, table in {**TABLES, "policy.toml": policy}.items():
        (tmp_path / name).write_text(table, "utf-8")
    said = str(refused((PolicyError, TableError), lambda: load_policy(tmp_path)))
    assert "formula" in said


# ---------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 100_000}{']' * 100_000}",
        f"a = {'{b=' * 10_000}1{'}' * 10_000}",
        f"{'.'.join('a' * 20_000)} = 1",
        f"a = {'9' * 1_000_000}",
        f"a = 0x{'f' * 1_000_000}",
        f"a = [1, {{ b = 0b{'1' * 200} }}]",
        "a = 1e999999999",
        "a = 1e-999999999999999999999999",
        f"a = 0.{'1' * 31}",
        "a = 1\na = 2",
        "[a\n",
    ],
    ids=lambda t: f"{t[:10]!r}×{len(t)}",
)
def test_settings_without_measure_are_refused_at_once(text: str) -> None:
    refused(TableError, lambda: parse_toml(text, "policy.toml"))


@pytest.mark.parametrize("depth", [90, 150, 300, 600])
@pytest.mark.parametrize("form", ["list", "table", "key", "section"])
def test_settings_that_are_nested_are_refused_by_their_model(
    form: str, depth: int, tmp_path: Path
) -> None:
    deep = {
        "list": f"x = {'[' * depth}{']' * depth}\n{POLICY}",
        "table": f"x = {'{b = ' * depth}1{'}' * depth}\n{POLICY}",
        "key": f"{'.'.join('a' * depth)} = 1\n{POLICY}",
        "section": f"{POLICY}\n[{'.'.join('a' * depth)}]\n",
    }
    for name, table in {**TABLES, "policy.toml": deep[form]}.items():
        (tmp_path / name).write_text(table, "utf-8")
    refused(GrouperError, lambda: load_policy(tmp_path))


def test_dots_in_texts_and_comments_are_no_keys() -> None:
    text = f"# {'.' * 500} = \na = '{'.' * 500} = 1'\nb = 0.5\n"
    assert parse_toml(text, "f")["b"]
