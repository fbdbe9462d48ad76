"""The naive calibration: dicts of cases in, rows of texts out, one group at a time, nothing clever.

It follows docs/dip-calibration.md step by step; the drafted catalogue is written to a folder and read
by the naive grouper. Fractions and integers only.
"""

import csv
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

from .dip import load_naive_dip

Row = dict[str, str]
COLUMNS = ("code", "name", "class", "principal", "main", "related", "for_treatment", "treatment")
STATISTICS = ("score", "mean_cost", "n", "kept", "cv", "ci_low", "ci_high", "years")


@dataclass
class Clean:
    """A case that counts."""

    case: dict[str, Any]
    year: int
    cost: int
    diagnosis: str
    main: str
    related: tuple[str, ...]
    treatment: str


@dataclass
class NaiveCatalogue:
    groups: list[Row]
    left_out: dict[str, int]
    threshold: int
    core: int
    mixed: int


def half_up(x: Fraction) -> int:
    return (2 * x.numerator + x.denominator) // (2 * x.denominator)


def decimal_text(x: Fraction, places: int) -> str:
    units = half_up(x * 10**places)
    whole, rest = divmod(units, 10**places)
    return f"{whole}.{rest:0{places}}" if places else str(whole)


def root_text(square: Fraction, places: int) -> str:
    """The square root with so many places, half up, found digit for digit."""
    n = 0
    limit = square * 10 ** (2 * places)
    n = isqrt(int(limit))
    if Fraction(2 * n + 1, 2) ** 2 <= limit:
        n += 1
    return decimal_text(Fraction(n, 10**places), places)


def spelled(code: str) -> str:
    return code[:3] + code[3:].replace("X", "x")


def key_of(code: str) -> str:
    """The first four characters, the dot not counted, or `=` and the whole code."""
    plain = [k for k, letter in enumerate(code) if letter != "."]
    return code[: plain[3] + 1] if len(plain) >= 4 else f"={code}"


# ---------------------------------------------------------------------------- the cases


def clean_cases(
    cases: Sequence[dict[str, Any]], options: dict[str, Any]
) -> tuple[list[Clean], dict[str, int]]:
    draft = Draft(options)
    left: Counter[str] = Counter()
    found: list[Clean] = []
    ids = Counter(case["case_id"] for case in cases)
    with tempfile.TemporaryDirectory() as name:
        naive = load_naive_dip(draft.write(Path(name), []), draft.profiles)
        for case in cases:
            answer = naive.group(case, frozenset(i for i, n in ids.items() if n > 1))
            cost, day = case.get("total_cost_fen"), case.get("discharge_date")
            dated = any("discharge_date" in c for c in cases)
            if answer.status == "rejected":
                left["rejected"] += 1
            elif cost is None or cost <= 0:
                left["no_cost"] += 1
            elif cost >= 10**12:
                left["cost_out_of_range"] += 1
            elif dated and day is None:
                left["no_date"] += 1
            elif answer.reason == "excluded_principal":
                left["excluded_principal"] += 1
            else:
                year = day.year if isinstance(day, date) else 0
                found.append(draft.seen(naive, case, year))
    latest = max((c.year for c in found), default=0)
    first = latest - len(options["year_weights"]) + 1
    if outside := sum(c.year < first for c in found):
        left["outside_years"] = outside
    return [c for c in found if c.year >= first], dict(left)


class Draft:
    """A catalogue under construction, as a folder."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.profiles = Path(__file__).parents[2] / "tables" / "dip-profiles"

    def write(self, folder: Path, rows: Sequence[Row]) -> Path:
        profile = self.options.get("profile", "national-3.0")
        text = f'id = "x"\ntitle = "x"\nkind = "dip"\nprofile = "{profile}"\n'
        (folder / "scheme.toml").write_text(text, "utf-8")
        for name in ("exclusions", "procedure_class"):
            if self.options.get(name):
                (folder / f"{name}.csv").write_text(
                    Path(self.options[name]).read_text("utf-8"), "utf-8"
                )
        with (folder / "groups.csv").open("w", encoding="utf-8", newline="") as f:
            writer = csv.DictWriter(f, COLUMNS, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows({"name": "x", **row} for row in rows)
        return folder

    @staticmethod
    def seen(naive: Any, case: dict[str, Any], year: int) -> Clean:
        diagnoses = [naive_normal(c) for c in case["diagnoses"]]
        given = [naive_normal(c) for c in case["procedures"]]
        procedures = list(dict.fromkeys(c for c in given if c))
        facts = naive.facts(case, diagnoses, procedures)
        main = facts.main or ""
        related = sorted(c for c in procedures if c != main) if main else []
        cost = case["total_cost_fen"]
        return Clean(case, year, cost, diagnoses[0], main, tuple(related), facts.treatment)


def naive_normal(code: str | None) -> str:
    return "".join((code or "").split()).upper()


# ---------------------------------------------------------------------------- the groups


def core_rows(cases: Sequence[Clean], options: dict[str, Any]) -> tuple[list[Row], int]:
    years = len({c.year for c in cases})
    pairs: defaultdict[tuple[str, str], list[Clean]] = defaultdict(list)
    for c in cases:
        pairs[key_of(c.diagnosis), c.main].append(c)
    rising = 1 + Fraction(str(options.get("related_rise", 10))) / 100
    rises: dict[tuple[str, str], dict[tuple[str, ...], int]] = {}
    for pair, members in pairs.items():
        combinations: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for c in members:
            combinations[c.related].append(c.cost)
        base = combinations.pop((), [])
        rises[pair] = {
            related: len(costs)
            for related, costs in combinations.items()
            if base and mean(costs) >= rising * mean(base)
        }
    if options.get("coverage") is None:
        threshold = options.get("threshold", 15) * years
    else:
        units = [n for found in rises.values() for n in found.values()]
        units += [len(pairs[p]) - sum(rises[p].values()) for p in pairs]
        wanted = Fraction(str(options["coverage"])) * len(cases)
        levels = sorted({n for n in units if n}, reverse=True)
        threshold = next((t for t in levels if sum(n for n in units if n >= t) >= wanted), 1)
    rows = []
    for (stem, main), members in pairs.items():
        opened = [r for r, n in rises[stem, main].items() if n >= threshold]
        rest = len(members) - sum(rises[stem, main][r] for r in opened)
        for related in [*opened, *([()] if rest >= threshold else [])]:
            names = sorted(spelled(r) for r in related)
            rows.append(
                {
                    "code": spelled(stem).lstrip("=")
                    + ":"
                    + ("+".join([x for x in (spelled(main), *names) if x]) or "-"),
                    "class": "core",
                    "principal": spelled(stem),
                    "main": spelled(main),
                    "related": "+".join(names),
                    "for_treatment": "",
                    "treatment": members[0].treatment,
                }
            )
    return sorted(rows, key=lambda r: (r["principal"], r["main"], r["related"])), threshold


def mean(costs: Iterable[int]) -> Fraction:
    each = list(costs)
    return Fraction(sum(each), len(each))


def assign(cases: Sequence[Clean], rows: Sequence[Row], draft: Draft) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        naive = load_naive_dip(draft.write(Path(name), rows), draft.profiles)
        return [naive.group(c.case).group or "" for c in cases]


# ---------------------------------------------------------------------------- the numbers


def keep(costs: list[int], options: dict[str, Any]) -> list[bool]:
    kind = options.get("trim", "percentile")
    given = {"percentile": "2.5", "iqr": "1.5", "mean_sd": "3", "none": "0"}[kind]
    value = Fraction(str(options.get("trim_value") or given))
    if kind == "none" or not costs:
        return [True] * len(costs)
    ordered = sorted(costs)

    def percentile(q: Fraction) -> Fraction:
        h = (len(ordered) - 1) * q / 100
        low = int(h)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (h - low) * (ordered[high] - ordered[low])

    if kind == "mean_sd":
        if len(costs) == 1:
            return [True]
        m = mean(costs)
        variance = sum((c - m) ** 2 for c in costs) / (len(costs) - 1)
        return [(c - m) ** 2 <= value**2 * variance for c in costs]
    low, high = percentile(value), percentile(100 - value)
    if kind == "iqr":
        first, third = percentile(Fraction(25)), percentile(Fraction(75))
        low, high = first - value * (third - first), third + value * (third - first)
    return [low <= c <= high for c in costs]


def weighted(by_year: dict[int, list[int]], weights: dict[int, int]) -> Fraction:
    """The mean of the yearly means by the weights of the years that have cases."""
    total = sum((weights[y] * mean(costs) for y, costs in by_year.items()), Fraction(0))
    return total / sum(weights[y] for y in by_year)


def years_of(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for year, cost in pairs:
        found[year].append(cost)
    return dict(found)


def naive_calibrate(cases: Sequence[dict[str, Any]], options: dict[str, Any]) -> NaiveCatalogue:
    options = {"year_weights": [1, 2, 7], **options}
    clean, left = clean_cases(cases, options)
    draft = Draft(options)
    rows, threshold = core_rows(clean, options)
    core = len(rows)
    matched = assign(clean, rows, draft)
    if options.get("mixed", True):
        wanted = options.get("mixed_threshold")
        years = len({c.year for c in clean})
        limit = threshold if wanted is None else wanted * years
        cells = Counter(
            (c.diagnosis[:3], c.treatment) for c, m in zip(clean, matched, strict=True) if not m
        )
        for (category, treatment), n in sorted(cells.items()):
            if n >= limit and len(category) == 3:
                row = {"code": f"{category}:{treatment}", "class": "mixed", "principal": category}
                row |= {"main": "*", "related": "", "for_treatment": treatment}
                rows.append({**row, "treatment": treatment})
        matched = assign(clean, rows, draft)
    latest = max((c.year for c in clean), default=0)
    many = options["year_weights"]
    weights = {latest - len(many) + 1 + k: w for k, w in enumerate(many)}
    kept_of: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        members = [c for c, m in zip(clean, matched, strict=True) if m == row["code"]]
        flags = keep([c.cost for c in members], options)
        kept = [(c.year, c.cost) for c, ok in zip(members, flags, strict=True) if ok]
        kept_of[row["code"]] = kept
        row |= {"n": str(len(members)), "kept": str(len(kept))}
    loose = [(c.year, c.cost) for c, m in zip(clean, matched, strict=True) if not m]
    everything = [pair for kept in kept_of.values() for pair in kept] + loose
    overall = weighted(years_of(everything), weights) if everything else Fraction(1)
    scale, places = options.get("score_scale", 1000), options.get("score_decimals", 4)
    for row in rows:
        kept = kept_of[row["code"]]
        row |= dict.fromkeys(("score", "mean_cost", "cv", "ci_low", "ci_high"), "")
        row["years"] = "|".join(f"{y}:{len(c)}" for y, c in sorted(years_of(kept).items()))
        if not kept:
            continue
        m = weighted(years_of(kept), weights)
        row["mean_cost"] = decimal_text(Fraction(half_up(m), 100), 2)
        row["score"] = decimal_text(m / overall * scale if scale else m / 100, places)
        if len(kept) > 1:
            costs = [cost for _, cost in kept]
            centre, n = mean(costs), len(costs)
            variance = Fraction(sum((c - centre) ** 2 for c in costs)) / (n - 1)
            row["cv"] = root_text(variance / centre**2, 4)
            reach = int(root_text(Fraction(196, 100) ** 2 * variance / n, 0))
            for name, sign in (("ci_low", -1), ("ci_high", 1)):
                fen = half_up(centre) + sign * reach
                text = decimal_text(Fraction(abs(fen), 100), 2)
                row[name] = f"-{text}" if fen < 0 else text
    return NaiveCatalogue(rows, left, threshold, core, len(rows) - core)
