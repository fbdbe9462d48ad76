"""A policy of a few lines, with its tables; tests change one thing of it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

POLICY = """\
id = "p"
title = "a policy"
standing = "invented"
source = "invented"

[method]
kind = "point"
fund_form = "difference"
negative = "zero_case"
source = "invented"

[funds]
source = "invented"

[[pool]]
id = "staff"
insurance = ["310"]

[[pool]]
id = "rest"

[[weights]]
file = "weights.csv"
from = 2022-01-01
source = "invented"

[benchmark]
kind = "mean"
source = "invented"

[[low]]
edge = 0.5
pay = "ratio"
from = 2022-01-01
source = "invented"

[[high]]
edge = 2
pay = "excess"
share = 0.8
from = 2022-01-01
source = "invented"

[status_pay]
ambiguous = { rule = "zero", source = "invented" }
ungrouped = { rule = "zero", source = "invented" }
rejected = { rule = "zero", source = "invented" }
not_covered = { rule = "zero", source = "invented" }

[param.fund]
name_zh = "基金"
unit = "yuan"
values = [
    { from = 2022-01-01, to = 2022-12-31, value = 1000, source = "invented" },
]
"""

TABLES = {
    "weights.csv": "group,weight,mean_cost\nA,1.5,10000\nB,0.5,4000\n",
    "benchmarks.csv": "group,level,mean_cost\nA,三级,12000.5\nA,,10000\n",
    "coefficients.csv": "group,level,coefficient\nA,三级,1.2\n,三级,1.1\n",
}

Swap: TypeAlias = tuple[str, str]
"""An old text, that stands in one place, and the new one."""


def budget(*lines: str, param: str = "budget") -> tuple[Swap, ...]:
    """Let the fund come from a budget; `lines` are of its section."""
    section = "\n".join(["[budget]", 'source = "x"', *lines])
    pool = '[[pool]]\nid = "staff"'
    return ("[param.fund]", f"[param.{param}]"), (pool, f"{section}\n\n{pool}")


def changed(text: str, *swaps: Swap) -> str:
    """Replace the one place where each old text stands."""
    for old, new in swaps:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


def write(folder: Path, text: str = POLICY, **tables: str) -> Path:
    """Write a policy and its tables; the keyword of a table is its name without `.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(text, "utf-8")
    for name, rows in (TABLES | {f"{n}.csv": rows for n, rows in tables.items()}).items():
        (folder / name).write_text(rows, "utf-8")
    return folder


def param(name: str, unit: str, *values: str) -> str:
    """Write a parameter; values that say no day hold from 2022."""
    dated = [v if "from =" in v else f"from = 2022-01-01, {v}" for v in values]
    rows = "".join(f'    {{ {v}, source = "x" }},\n' for v in dated)
    return f'\n[param.{name}]\nname_zh = "{name}"\nunit = "{unit}"\nvalues = [\n{rows}]\n'
