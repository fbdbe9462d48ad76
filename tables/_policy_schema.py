"""The JSON schema of `policy.toml`, for editors: every section and field with its description.

It comes from the model. Three things are turned to what TOML can say: numbers are numbers, nothing is
null, and a section may be left out, or be a part, only where `inherits` brings the rest.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DecimalSchema

from grouper.tables._policy_layers import OWN
from grouper.tables._policy_model import PolicySettings

Json: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Numbers(GenerateJsonSchema):
    """Decimals are numbers, and no text beside them."""

    def decimal_schema(self, schema: DecimalSchema) -> JsonSchemaValue:
        return {"type": "number"}


def policy_schema() -> Json:
    """Return the JSON schema of `policy.toml`.

    Returns
    -------
    dict : JSON values; write it with ``json.dumps(..., ensure_ascii=False)``.
    """
    schema = _plain(PolicySettings.model_json_schema(by_alias=True, schema_generator=_Numbers))
    sections: Json = schema.pop("$defs")
    del sections["Parameter"]["properties"]["inherited"]
    whole: Json = {"required": [k for k in schema["required"] if k not in OWN], "properties": {}}
    for name, field in schema["properties"].items():
        table = field.get("additionalProperties", field)
        needed = sections.get(table.get("$ref", "").rpartition("/")[2], {}).pop("required", None)
        if needed:
            inside = {"required": needed}
            named = "additionalProperties" in field
            whole["properties"][name] = {"additionalProperties": inside} if named else inside
    return {
        "$schema": DIALECT,
        "title": "policy.toml",
        **{k: v for k, v in schema.items() if k not in ("title", "required")},
        "required": [k for k in schema["required"] if k in OWN],
        "if": {"not": {"required": ["inherits"]}},
        "then": whole,
        "$defs": sections,
    }


def _plain(node: Any) -> Any:
    """Take out null, and the titles that only repeat the keys; a whole number is a number too."""
    if isinstance(node, list):
        return [_plain(x) for x in node]
    if not isinstance(node, dict):
        return node
    found = {k: _plain(v) for k, v in node.items() if k != "title" or isinstance(v, dict)}
    default = found.get("default", 0)
    if default is None or (isinstance(default, dict) and None in default.values()):
        del found["default"]
    if "anyOf" in found:
        kinds = [k for k in found.pop("anyOf") if k.get("type") != "null"]
        if {"type": "number"} in kinds:
            kinds = [k for k in kinds if k.get("type") != "integer"]
        found |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return found
