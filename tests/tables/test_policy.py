"""Policies as they load: dated values, inheritance, the tables beside them, lines, the JSON schema."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from policies import POLICY, Swap, changed, param, write

from grouper.errors import PolicyError, TableError
from grouper.tables import Policy, describe, load_policy, policy_ids, policy_schema
from grouper.tables._files import SHIPPED
from grouper.tables._policy_model import SELECTORS, PolicySettings
from grouper.tables._toml_lines import lines_of

DAY = date(2022, 6, 30)


def child(text: str, parent: str = "../parent", **own: str) -> str:
    """Return a policy that says of itself what it must, then `text`."""
    about = {"id": "child", "title": "c", "standing": "example", "source": "child"} | own
    return "".join(f'{k} = "{v}"\n' for k, v in {**about, "inherits": parent}.items()) + text


def inherited(tmp_path: Path, text: str, *swaps: Swap, more: str = "") -> Policy:
    """Load a child of the plain policy, of which something is changed first."""
    write(tmp_path / "parent", changed(POLICY, *swaps) + more)
    folder = tmp_path / "child"
    folder.mkdir()
    (folder / "policy.toml").write_text(child(text), "utf-8")
    return load_policy(folder)


# ------------------------------------------------------------------------------------- dated values


def values(tmp_path: Path, *rows: str, unit: str = "ratio", name: str = "coefficient") -> Policy:
    return load_policy(write(tmp_path, POLICY + param(name, unit, *rows)))


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_value_is_narrowed_by_each_selector(tmp_path: Path, selector: str) -> None:
    p = values(tmp_path, "value = 1", f'value = 2, {selector} = "2022-01"')
    assert p.at("coefficient", DAY) == 1
    assert p.at("coefficient", DAY, **{selector: "2022-02"}) == 1
    assert p.at("coefficient", DAY, **{selector: "2022-01"}) == 2


def test_the_value_narrowed_most_counts_then_the_latest(tmp_path: Path) -> None:
    p = values(
        tmp_path,
        'value = 1, level = "三级", class = "a"',
        'value = 2, level = "三级", from = 2022-02-01',
        "value = 3, from = 2022-03-01",
        "value = 4, from = 2022-04-01, to = 2022-04-30",
    )
    at = {"level": "三级", "class": "a"}
    assert [p.at("coefficient", DAY, **at), p.at("coefficient", DAY, level="三级")] == [1, 2]
    days = [date(2022, 3, 31), date(2022, 4, 1), date(2022, 4, 30), date(2022, 5, 1)]
    assert [p.at("coefficient", d) for d in days] == [3, 4, 4, 3]


def test_two_values_that_are_equal_in_both_are_refused(tmp_path: Path) -> None:
    p = values(tmp_path, 'value = 1, level = "三级"', 'value = 2, insurance = "310"')
    assert p.at("coefficient", DAY, level="三级") == 1
    with pytest.raises(PolicyError, match="coefficient: two values fit equally on 2022-06-30"):
        p.at("coefficient", DAY, level="三级", insurance="310")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    p = values(tmp_path, 'value = 1, level = "三级", from = 2022-02-02')
    said = "no value on 2022-06-30 for level 二级; the first is of 2022-02-02"
    with pytest.raises(PolicyError, match=said):
        p.at("coefficient", DAY, level="二级")
    with pytest.raises(PolicyError, match="base_rate: the policy p has no such parameter"):
        p.at("base_rate", DAY)
    assert (p.has("coefficient"), p.has("base_rate")) == (True, False)


@pytest.mark.parametrize(
    ("unit", "fen"),
    [("fen", 1), ("yuan", 100), ("万元", 1_000_000), ("yuan per point", 100)],
)
def test_money_is_read_in_its_unit(tmp_path: Path, unit: str, fen: int) -> None:
    p = values(tmp_path, "value = 9.8765", unit=unit, name="point_value_last")
    assert p.at("point_value_last", DAY) == Fraction("9.8765") * fen
    assert p.value("point_value_last", DAY).value == Decimal("9.8765")


# -------------------------------------------------------------------------------------- inheritance


def test_a_child_says_what_it_changes_and_the_rest_is_its_parents(tmp_path: Path) -> None:
    p = inherited(tmp_path, '[method]\nscore_decimals = 2\n[[pool]]\nid = "all"\n')
    s, parent = p.settings, load_policy(tmp_path / "parent").settings
    assert (s.id, s.title, s.standing, s.source) == ("child", "c", "example", "child")
    assert s.method == parent.method.model_copy(update={"score_decimals": 2})
    assert [x.id for x in s.pool] == ["all"]  # a list is replaced whole
    assert (s.low, s.high, s.status_pay) == (parent.low, parent.high, parent.status_pay)
    assert p.folder == tmp_path / "child"


def test_tables_within_tables_are_merged_key_by_key(tmp_path: Path) -> None:
    text = '[status_pay]\nambiguous = { rule = "cost", value = 0.6 }\n'
    rules = inherited(tmp_path, text).settings.status_pay
    assert (rules["ambiguous"].rule, rules["ambiguous"].source) == ("cost", "invented")
    assert rules["ungrouped"].rule == "zero"


@pytest.mark.parametrize("key", ["id", "title", "standing", "source"])
def test_what_a_policy_says_of_itself_is_not_inherited(tmp_path: Path, key: str) -> None:
    write(tmp_path / "parent")
    text = re.sub(f'(?m)^{key} = ".*"\n', "", child(""))
    folder = write(tmp_path / "child", text)
    with pytest.raises(TableError, match=f"policy.toml: {key}: Field required"):
        load_policy(folder)


COEFFICIENTS = param(
    "coefficient",
    "ratio",
    "value = 1",
    'value = 1.1, level = "三级"',
    'value = 1.2, hospital = "H"',
)


def test_the_childs_values_are_asked_first(tmp_path: Path) -> None:
    """A value of the child that fits counts, however narrowly the parent's fits."""
    text = '[param.coefficient]\nvalues = [{ from = 2022-03-01, value = 2, level = "三级", source = "c" }]'
    p = inherited(tmp_path, text, more=COEFFICIENTS)
    at = {"level": "三级", "hospital": "H"}
    assert p.at("coefficient", DAY, **at) == 2
    assert p.at("coefficient", DAY, hospital="H", level="二级") == Fraction("1.2")
    assert p.at("coefficient", DAY) == 1
    assert p.at("coefficient", date(2022, 2, 1), level="三级") == Fraction("1.1")
    assert p.value("coefficient", DAY, **at).source == "c"
    kept = p.settings.param["coefficient"]
    assert (kept.name_zh, kept.unit, len(kept.all_values)) == ("coefficient", "ratio", 4)


def test_a_tie_within_the_child_is_refused_though_the_parent_has_a_value(tmp_path: Path) -> None:
    row = '{ from = 2022-01-01, value = 2, source = "c" }'
    p = inherited(tmp_path, f"[param.coefficient]\nvalues = [{row}, {row}]", more=COEFFICIENTS)
    with pytest.raises(PolicyError, match="two values fit equally"):
        p.at("coefficient", DAY)


def test_each_layer_keeps_its_own_unit(tmp_path: Path) -> None:
    rows = '[{ from = 2022-01-01, value = 0.5, level = "三级", source = "c" }]'
    text = f'[param.overall_mean]\nunit = "万元"\nvalues = {rows}\n'
    p = inherited(tmp_path, text, more=param("overall_mean", "yuan", "value = 4000"))
    assert p.at("overall_mean", DAY, level="三级") == 500_000
    assert p.at("overall_mean", DAY) == 400_000


def test_days_on_which_something_changes_are_of_all_layers_and_bands(tmp_path: Path) -> None:
    text = '[param.coefficient]\nvalues = [{ from = 2023-05-01, to = 2023-06-30, value = 1, source = "c" }]'
    extreme = '[[extreme]]\nedge = 5\npay = "base"\nfrom = 2024-01-01\nsource = "x"\n'
    p = inherited(tmp_path, text, more=param("coefficient", "ratio", "value = 1") + extreme)
    days = ["2022-01-01", "2023-01-01", "2023-05-01", "2023-07-01", "2024-01-01"]
    assert [str(d) for d in p.breaks] == days


NATION = changed(POLICY, ('id = "p"', 'id = "nation"')) + COEFFICIENTS
PROVINCE = child(
    '[method]\nscore_decimals = 2\nnegative = "keep"\n'
    "[param.coefficient]\n"
    'values = [{ from = 2022-01-01, value = 3, level = "三级", source = "province" }]\n',
    "../nation",
    id="province",
)
CITY = child(
    '[method]\nnegative = "zero_hospital"\n'
    "[param.coefficient]\n"
    'values = [{ from = 2022-01-01, value = 4, hospital = "H", source = "city" }]\n',
    "../province/policy.toml",
    id="city",
)


def test_three_layers(tmp_path: Path) -> None:
    write(tmp_path / "nation", NATION, pay_as="id,group,note,pay_as,share,when\nn,A,x,B,1,always\n")
    write(tmp_path / "province", PROVINCE)
    p = load_policy(write(tmp_path / "city", CITY))
    m = p.settings.method
    assert (m.kind, m.score_decimals, m.negative) == ("point", 2, "zero_hospital")
    asked: list[dict[str, str]] = [{"hospital": "H", "level": "三级"}, {"level": "三级"}, {}]
    assert [p.at("coefficient", DAY, **at) for at in asked] == [4, 3, 1]
    assert [v.source for v in p.settings.param["coefficient"].all_values] == [
        "city", "province", "x", "x", "x",
    ]  # fmt: skip
    assert list(p.pay_as) == ["n"]


def test_a_shipped_policy_as_parent(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "policy.toml").write_text(child("", "wuhan-2022"), "utf-8")
    own, wuhan = load_policy(folder), load_policy("wuhan-2022")
    assert own.tables == wuhan.tables
    assert own.pay_as == wuhan.pay_as
    assert own.at("base_rate", DAY, level="二级", insurance="310") == 1061800
    assert own.fingerprint != wuhan.fingerprint
    assert describe(folder)["inherits"] == "wuhan-2022"


def test_files_are_found_beside_the_policy_that_names_them(tmp_path: Path) -> None:
    """The child names its own weights; benchmarks and coefficients stay the parent's."""
    tables = ('kind = "mean"', 'kind = "table"\nfile = "benchmarks.csv"')
    more = '\n[coefficient]\nkind = "table"\nfile = "coefficients.csv"\nsource = "x"\n'
    write(tmp_path / "parent", changed(POLICY, tables) + more)
    weights = '[[weights]]\nfile = "weights.csv"\nfrom = 2022-01-01\nsource = "c"\n'
    folder = tmp_path / "child"
    folder.mkdir()
    (folder / "weights.csv").write_text("group,weight\nC,7\n", "utf-8")
    (folder / "policy.toml").write_text(child(weights), "utf-8")
    p = load_policy(folder)
    assert list(p.weights_on(DAY)) == ["C"]
    assert p.benchmarks == {("A", "三级"): 1_200_050, ("A", ""): 1_000_000}
    assert p.coefficient_table == {("A", "三级"): Fraction("1.2"), ("", "三级"): Fraction("1.1")}
    (folder / "policy.toml").write_text(child(weights + '[benchmark]\nby = "level"\n'), "utf-8")
    assert load_policy(folder).benchmarks == p.benchmarks
    own = '[benchmark]\nfile = "own.csv"\n'
    (folder / "own.csv").write_text("group,level,mean_cost\nA,,1\n", "utf-8")
    (folder / "policy.toml").write_text(child(weights + own), "utf-8")
    assert load_policy(folder).benchmarks == {("A", ""): 100}


def test_notes_are_the_childs_or_else_the_parents(tmp_path: Path) -> None:
    head = "id,group,note,pay_as,share,when\n"
    write(tmp_path / "parent", pay_as=f"{head}old,A,x,B,1,always\n")
    folder = tmp_path / "child"
    folder.mkdir()
    (folder / "policy.toml").write_text(child(""), "utf-8")
    assert list(load_policy(folder).pay_as) == ["old"]
    (folder / "pay_as.csv").write_text(f"{head}new,B,x,A,0.5,named\n", "utf-8")
    assert list(load_policy(folder).pay_as) == ["new"]


CATALOGUE = {
    "scheme.toml": 'id = "t"\ntitle = "t"\nkind = "dip"\nprofile = "profile.toml"\n',
    "profile.toml": 'id = "p"\ntitle = "p"\nsource = "x"\nstanding = "invented"\n'
    '[[stage]]\nclasses = ["core"]\ncomparators = ["more_required_terms"]\n',
    "groups.csv": "code,name,class,principal,main,score\nA,a,core,A41,03.3101,10\n",
}


def test_a_catalogue_lies_beside_the_policy_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "parent", changed(POLICY, ('file = "weights.csv"', 'catalogue = "cat"')))
    folders = [tmp_path / "parent" / "cat", tmp_path / "child"]
    for path in folders:
        path.mkdir()
    for name, text in CATALOGUE.items():
        (folders[0] / name).write_text(text, "utf-8")
    (folders[1] / "policy.toml").write_text(child(""), "utf-8")
    p = load_policy(folders[1])
    assert {g: r.weight for g, r in p.weights_on(DAY).items()} == {"A": 10}
    with (folders[0] / "groups.csv").open("a", encoding="utf-8") as f:
        f.write("B,b,core,A42,,5\n")
    assert load_policy(folders[1]).fingerprint != p.fingerprint


@pytest.mark.parametrize("chain", [1, 2, 3])
def test_a_circle_is_refused_with_its_chain(tmp_path: Path, chain: int) -> None:
    for k in range(chain):
        write(tmp_path / f"f{k}", child("", f"../f{(k + 1) % chain}", id=f"p{k}"))
    ids = " → ".join(f"p{k % chain}" for k in range(chain + 1))
    with pytest.raises(TableError) as e:
        load_policy(tmp_path / "f0")
    file = "policy.toml" if chain == 1 else f"f{chain - 1}/policy.toml"
    said = f"inherits in a circle: {ids}; take one `inherits` out"
    assert str(e.value) == f"[E100] {file}:5: {said}"


def test_a_circle_further_up_is_refused_too(tmp_path: Path) -> None:
    for name, parent in (("a", "b"), ("b", "c"), ("c", "b")):
        write(tmp_path / name, child("", f"../{parent}", id=name))
    with pytest.raises(TableError, match="a circle: a → b → c → b"):
        load_policy(tmp_path / "a")


def test_a_fault_is_placed_in_the_file_that_has_it(tmp_path: Path) -> None:
    """Of a merged policy, each fault names the child's line or the parent's."""
    bad = param("coefficient", "ratio", "value = 1", "value = -2")
    line = (POLICY + bad).split("\n").index(
        '    { from = 2022-01-01, value = -2, source = "x" },'
    ) + 1
    rows = '[{ from = 2022-01-01, value = -3, source = "c" }]'
    text = f"[param.coefficient]\nvalues = {rows}\n[[high]]\nedge = -2\npay = 'cost'\n"
    text += "from = 2022-01-01\nsource = 'c'\n"
    with pytest.raises(PolicyError) as e:
        inherited(tmp_path, text, ("share = 0.8", "share = 8"), more=bad)
    assert str(e.value) == (
        f"[E400] parent/policy.toml: line {line}: param.coefficient.inherited.values.1.value: -2 is "
        "below 0; policy.toml:7: param.coefficient.values.0.value: -3 is below 0; "
        "policy.toml:9: high.0.edge: -2 is below 0"
    )


@pytest.mark.parametrize(
    ("swap", "place", "said"),
    [
        (('kind = "point"', 'kind = "x"'), "parent/policy.toml:7", "method.kind: Input should be"),
        (("edge = 2", "edg = 2"), "parent/policy.toml:37", "high.0.edge: Field required"),
        (("share = 0.8", "share"), "parent/policy.toml:40", "not TOML in UTF-8: "),
    ],
)
def test_a_fault_of_the_parent(tmp_path: Path, swap: Swap, place: str, said: str) -> None:
    with pytest.raises(TableError) as e:
        inherited(tmp_path, "", swap)
    assert str(e.value).startswith(f"[E100] {place}: {said}")


# -------------------------------------------------------------------------------------- fingerprint


def test_the_fingerprint_covers_every_file_that_is_read(tmp_path: Path) -> None:
    """Each file, changed by a byte, gives another fingerprint; a file that is not read, the same."""
    swap = ('kind = "mean"', 'kind = "table"\nfile = "benchmarks.csv"')
    more = '\n[coefficient]\nkind = "table"\nfile = "coefficients.csv"\nsource = "x"\n'
    notes = "id,group,note,pay_as,share,when\nn,A,x,B,1,always\n"
    write(tmp_path / "nation", changed(NATION, swap) + more, pay_as=notes)
    write(tmp_path / "province", PROVINCE)
    folder = write(tmp_path / "city", CITY)
    found = {load_policy(folder).fingerprint}
    read = [f"nation/{n}.csv" for n in ("weights", "benchmarks", "coefficients", "pay_as")]
    read += [f"{n}/policy.toml" for n in ("nation", "province", "city")]
    for file in read:
        with (tmp_path / file).open("a", encoding="utf-8") as f:
            f.write("\n")
        found.add(load_policy(folder).fingerprint)
    assert len(found) == len(read) + 1
    (folder / "weights.csv").write_text("group,weight\nZ,1\n", "utf-8")
    assert load_policy(folder).fingerprint in found


def test_a_row_that_moves_to_another_file_changes_the_fingerprint(tmp_path: Path) -> None:
    second = '[[weights]]\nfile = "more.csv"\nfrom = 2023-01-01\nsource = "x"\n'
    rows = ["A,1\n", "B,1\n", "C,1\n"]
    found = set()
    for k in (1, 2):
        tables = [f"group,weight\n{''.join(rows[:k])}", f"group,weight\n{''.join(rows[k:])}"]
        folder = write(tmp_path / str(k), POLICY + second, weights=tables[0], more=tables[1])
        found.add(load_policy(folder).fingerprint)
    assert len(found) == 2


# -------------------------------------------------------------------------------------- lines of TOML

NASTY = '''\
# [not] = "a table"
a = 1 # [x]
"q.k" = "s # ]"
'l' = ''
x.y."z z" = [1, [2, # three
  3], { a = 1, b.c = "]" }, """
two "quoted" \\""""]
d = 1979-05-27 07:32:00
e = \'\'\'it's "\'\'\'
m = """
[no]
k = 1
"""
empty = []
none = {}
[t]
f = true
[t.u]
g = -1.5
[[arr]]
n = 1
[[arr]]
n = 2
[arr.sub]
k = 1
[[arr.deep]]
p = 1
[[arr.deep]]
p = 2
[w.v."x\\u0041"]
[w]
q = {a=1}
'''


def keys(node: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from keys(value, (*at, key))


TEXTS = {
    "nasty": NASTY,
    "of another system": NASTY.replace("\n", "\r\n"),
    **{str(p.relative_to(SHIPPED)): p.read_text("utf-8") for p in sorted(SHIPPED.rglob("*.toml"))},
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_key_of_a_text_has_a_line(name: str) -> None:
    found = lines_of(TEXTS[name])
    assert set(found) == set(keys(tomllib.loads(TEXTS[name])))
    lines = TEXTS[name].split("\n")
    for at, line in found.items():
        named = [k for k in at if isinstance(k, str)]
        last = named[-1].encode("unicode_escape").decode() if named[-1].isascii() else named[-1]
        if isinstance(at[-1], str) and last != "xA":
            assert last in lines[line - 1], (at, line)


def test_lines_of_nested_keys() -> None:
    found = lines_of(NASTY)
    expected = {
        ("x", "y", "z z", 0): 5,
        ("x", "y", "z z", 1, 1): 6,
        ("x", "y", "z z", 2, "b", "c"): 6,
        ("d",): 8,
        ("empty",): 14,
        ("arr", 1): 22,
        ("arr", 1, "sub", "k"): 25,
        ("arr", 1, "deep", 1, "p"): 29,
        ("w",): 31,
        ("w", "v", "xA"): 30,
    }
    assert {at: found[at] for at in expected} == expected


# ---------------------------------------------------------------------------------------- JSON schema


def faults(value: Any, schema: dict[str, Any], defs: dict[str, Any], at: str = "") -> Iterator[str]:
    """Check a value by the parts of JSON schema that the schema of policies uses."""
    known = {
        "$ref", "$schema", "$defs", "title", "description", "default", "type", "enum", "const",
        "anyOf", "format", "minLength", "minItems", "minimum", "maximum", "exclusiveMinimum",
        "properties", "additionalProperties", "required", "items", "if", "then", "not",
    }  # fmt: skip
    assert schema.keys() <= known, schema.keys() - known
    if "$ref" in schema:
        yield from faults(value, defs[schema["$ref"].rpartition("/")[2]], defs, at)
    if "anyOf" in schema and all(list(faults(value, s, defs)) for s in schema["anyOf"]):
        yield f"{at} is none of its kinds"
    if "not" in schema and not list(faults(value, schema["not"], defs)):
        yield f"{at} is what it may not be"
    if "if" in schema and not list(faults(value, schema["if"], defs)):
        yield from faults(value, schema["then"], defs, at)
    kinds = {
        "string": str | date,
        "number": int | Decimal,
        "integer": int,
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    if "type" in schema:
        flag = isinstance(value, bool) != (schema["type"] == "boolean")
        if flag or not isinstance(value, kinds[schema["type"]]):
            yield f"{at} is no {schema['type']}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{at} is not {schema['const']}"
    if isinstance(value, str | list) and len(value) < schema.get(
        "minLength", schema.get("minItems", 0)
    ):
        yield f"{at} is too short"
    if isinstance(value, int | Decimal):
        low, above = schema.get("minimum", value), schema.get("exclusiveMinimum", value - 1)
        if not low <= value <= schema.get("maximum", value) or value <= above:
            yield f"{at} is out of range"
    if isinstance(value, dict):
        yield from (f"{at} lacks {k}" for k in schema.get("required", ()) if k not in value)
        for key, inside in value.items():
            more = schema.get("additionalProperties", {})
            given = schema.get("properties", {}).get(key, more)
            if given is False:
                yield f"{at}.{key} is unknown"
            else:
                yield from faults(inside, given, defs, f"{at}.{key}")
    if isinstance(value, list) and "items" in schema:
        for k, item in enumerate(value):
            yield from faults(item, schema["items"], defs, f"{at}.{k}")


SCHEMA = policy_schema()


def by_schema(text: str) -> list[str]:
    return list(faults(tomllib.loads(text, parse_float=Decimal), SCHEMA, SCHEMA["$defs"]))


@pytest.mark.parametrize("name", policy_ids())
def test_shipped_policies_are_valid_by_the_schema(name: str) -> None:
    assert by_schema((SHIPPED / name / "policy.toml").read_text("utf-8")) == []


def test_policies_of_the_tests_are_valid_by_the_schema() -> None:
    assert [by_schema(text) for text in (POLICY, NATION, PROVINCE, CITY)] == [[], [], [], []]


@pytest.mark.parametrize(
    ("swap", "said"),
    [
        (('kind = "point"', 'kind = "points"'), ".method.kind is none of ['rate', 'point']"),
        (("edge = 2", 'edge = "2"'), ".high.0.edge is no number"),
        (
            ('negative = "zero_case"', "score_decimals = 7"),
            ".method.score_decimals is out of range",
        ),
        (
            ('negative = "zero_case"', "points_per_weight = 0"),
            ".method.points_per_weight is out of range",
        ),
        (('negative = "zero_case"', 'negativ = "keep"'), ".method.negativ is unknown"),
        (('id = "p"\n', ""), " lacks id"),
        (('[funds]\nsource = "invented"', ""), " lacks funds"),
        (("[method]\nkind", "[method]\nrate = 'fixed'\n# kind"), ".method lacks kind"),
        (('name_zh = "基金"\n', ""), ".param.fund lacks name_zh"),
        (('unit = "yuan"', 'unit = "yuan"\ninherited = {}'), ".param.fund.inherited is unknown"),
        (("value = 1000", "value = true"), ".param.fund.values.0.value is no number"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path: Path, swap: Swap, said: str) -> None:
    text = changed(POLICY, swap)
    assert by_schema(text) == [said]
    with pytest.raises(TableError):
        load_policy(write(tmp_path, text))


def test_the_schema_asks_a_child_for_itself_only() -> None:
    assert by_schema(child("[param.fund]\nvalues = []\n[method]\nscore_decimals = 2\n")) == []
    assert by_schema(child("[[high]]\nedge = 2\n")) == [
        ".high.0 lacks from", ".high.0 lacks source", ".high.0 lacks pay",
    ]  # fmt: skip


def test_the_schema_describes_every_section() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "policy.toml"
    fields = {f.alias or n for n, f in PolicySettings.model_fields.items()}
    assert SCHEMA["properties"].keys() == fields
    assert all(section["description"] for section in SCHEMA["$defs"].values())
    high = SCHEMA["$defs"]["Edge"]["properties"]
    assert high["edge"] == {"type": "number"}
    assert high["class"] == {"type": "string"}
    assert high["cap"]["description"] == "The claim is at most so many times the normal one."
