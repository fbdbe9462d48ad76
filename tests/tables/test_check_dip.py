"""Findings about DIP catalogues: one broken fixture for each; and every refusal names file and row."""

from __future__ import annotations

from pathlib import Path

import pytest

from grouper import GrouperError, TableError, load_catalogue, load_scheme
from grouper.tables import check, describe

PROFILE = """
id = "p"
title = "p"
source = "made up"
standing = "invented"
[[stage]]
classes = ["pre"]
[[stage]]
classes = ["core", "basic"]
comparators = ["more_required_terms"]
"""
CLEAN = {
    "scheme.toml": 'id = "t"\ntitle = "t"\nkind = "dip"\nprofile = "profile.toml"\n',
    "profile.toml": PROFILE,
    "groups.csv": "code,name,class,principal,main,score\nA,a,core,A41,03.3101,10\nB,b,core,A41,,5\n",
}


def folder(at: Path, **files: str) -> Path:
    at.mkdir(exist_ok=True)
    for name, text in {**CLEAN, **{k.replace("__", "."): v for k, v in files.items()}}.items():
        (at / name).write_text(text, "utf-8")
    return at


def groups(*rows: str, extra: str = "") -> str:
    return f"code,name,class,principal,main{extra}\n" + "".join(f"{r}\n" for r in rows)


def test_a_clean_catalogue_has_no_findings(tmp_path: Path) -> None:
    assert check(folder(tmp_path)) == []
    about = describe(tmp_path)
    assert about["rows"]["groups, core"] == 2
    assert about["matching"]["profile"] == "p"


BROKEN = {
    "L301": {"groups__csv": groups("A,a,core,A41,03.3101", "B,b,core,A41,03.3101")},
    "L302": {"groups__csv": groups("A,a,pre,A41,*", "B,b,core,A41,03.3101")},
    "L303": {
        "scheme__toml": CLEAN["scheme.toml"] + 'code_list = "codes-nhsa-2.0"\n',
        "groups__csv": groups("A,a,core,Q999.999,03.3101"),
    },
    "L304": {"groups__csv": groups("A,a,core,A41.1|A411,03.3101")},
    "L305": {"groups__csv": groups("A,a,core,A41,03.3101,5", "B,b,core,A42,,", extra=",score")},
    "L306": {
        "profile__toml": PROFILE.replace('"more_required_terms"', '"highest_score"'),
        "groups__csv": groups("A,a,core,A41,03.3101"),
    },
    "L307": {"conditions__csv": "condition,side,key\nodd,other,A41\n"},
    "L308": {"primary_care__csv": "seq,principal,main\n1,Z99,\n"},
}


@pytest.mark.parametrize("code", BROKEN)
def test_each_finding_is_found(code: str, tmp_path: Path) -> None:
    found = check(folder(tmp_path, **BROKEN[code]))
    assert code in {f.code for f in found}
    assert all(f.place and f.message for f in found)


NEVER = [
    ("A,a,core,A41,,9-3", ",los"),
    ("A,a,core,A41,,x,x", ",requires,forbids"),
    ("A,a,core,A41,,1", ",first_other"),
]


@pytest.mark.parametrize(("row", "extra"), NEVER)
def test_groups_that_can_never_win(row: str, extra: str, tmp_path: Path) -> None:
    conditions = "condition,side,key\nx,other,A42\n"
    found = check(
        folder(tmp_path, groups__csv=groups(row, extra=extra), conditions__csv=conditions)
    )
    assert "L302" in {f.code for f in found}


REFUSED = {
    "twice": ({"groups__csv": groups("A,a,core,A41,", "A,b,core,A42,")}, "groups.csv:3"),
    "class": ({"groups__csv": groups("A,a,mixed,A41,")}, "groups.csv:2"),
    "principal": ({"groups__csv": groups("A,a,core,,")}, "groups.csv:2"),
    "key": ({"groups__csv": groups("A,a,core,?41,")}, "groups.csv:2"),
    "range": ({"groups__csv": groups("A,a,core,C75-C00,")}, "groups.csv:2"),
    "procedure": ({"groups__csv": groups("A,a,core,A41,03/31")}, "groups.csv:2"),
    "fact": ({"groups__csv": groups("A,a,core,A41,,abc", extra=",los")}, "groups.csv:2"),
    "score": ({"groups__csv": groups("A,a,core,A41,,-1", extra=",score")}, "groups.csv:2"),
    "decimals": ({"groups__csv": groups("A,a,core,A41,,1.00001", extra=",score")}, "groups.csv:2"),
    "mean": ({"groups__csv": groups("A,a,core,A41,,1.005", extra=",mean_cost")}, "groups.csv:2"),
    "flag": ({"groups__csv": groups("A,a,core,A41,,yes", extra=",first_other")}, "groups.csv:2"),
    "treatment": (
        {"groups__csv": groups("A,a,core,A41,,magic", extra=",treatment")},
        "groups.csv:2",
    ),
    "condition": ({"groups__csv": groups("A,a,core,A41,,odd", extra=",requires")}, "groups.csv:2"),
    "empty": ({"groups__csv": groups()}, "groups.csv"),
    "column": ({"groups__csv": "code,name\nA,a\n"}, "groups.csv:1"),
    "side": ({"conditions__csv": "condition,side,key\nx,nowhere,A41\n"}, "conditions.csv:2"),
    "handling": ({"exclusions__csv": "side,code,handling\nprocedure,1,odd\n"}, "exclusions.csv:2"),
    "with": (
        {"exclusions__csv": "side,code,handling\nprocedure,1,main_only_with\n"},
        "exclusions.csv:2",
    ),
    "class table": ({"procedure_class__csv": "code,class\n1,odd\n"}, "procedure_class.csv:2"),
    "subtype": ({"auxiliary__csv": "type,group,coefficient\nx,A,1\n"}, "auxiliary.csv:2"),
    "setting": ({"scheme__toml": CLEAN["scheme.toml"] + 'odd = "1"\n'}, "scheme.toml"),
    "unclassed": ({"scheme__toml": CLEAN["scheme.toml"] + 'unclassed = "odd"\n'}, "scheme.toml"),
    "profile": ({"profile__toml": PROFILE + "odd = 1\n"}, "profile.toml"),
    "comparator": ({"profile__toml": PROFILE.replace("more_required", "more")}, "profile.toml"),
    "kind": ({"scheme__toml": CLEAN["scheme.toml"].replace('"dip"', '"pid"')}, "scheme.toml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_names_file_and_row(name: str, tmp_path: Path) -> None:
    files, place = REFUSED[name]
    with pytest.raises(TableError, match=place.replace(".", r"\.")):
        load_scheme(folder(tmp_path, **files))


def test_an_unknown_profile_lists_those_there_are(tmp_path: Path) -> None:
    scheme = CLEAN["scheme.toml"].replace("profile.toml", "nowhere")
    with pytest.raises(GrouperError, match="xianning"):
        load_scheme(folder(tmp_path, scheme__toml=scheme))


def test_a_drg_scheme_is_no_catalogue() -> None:
    with pytest.raises(TableError, match="DRG scheme"):
        load_catalogue("chs-drg-1.1")


def test_the_fingerprint_covers_what_decides(tmp_path: Path) -> None:
    one = load_scheme(folder(tmp_path)).fingerprint
    assert load_scheme(folder(tmp_path)).fingerprint == one
    changed = [
        {"groups__csv": CLEAN["groups.csv"].replace("10", "11")},
        {"profile__toml": PROFILE.replace('"more_required_terms"', '"highest_score"')},
        {"exclusions__csv": "side,code,handling\nprocedure,03.3101,not_main\n"},
    ]
    prints = {
        load_scheme(folder(tmp_path / str(k), **f)).fingerprint for k, f in enumerate(changed)
    }
    assert len({one, *prints}) == 4
