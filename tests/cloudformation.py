"""CloudFormation templates read as data, their functions replaced by what they give for a set of parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deploy" / "aws"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "111122223333",
}
_ABSENT = object()


class _Loader(yaml.SafeLoader):
    """Knows the short forms: `!Ref x` is `{Ref: x}`, `!Sub x` is `{Fn::Sub: x}`."""


def _short_form(loader: Any, suffix: str, node: Any) -> Any:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".") if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def template(name: str) -> dict[str, Any]:
    """A template of deploy/aws as it stands in the file."""
    return yaml.load((FOLDER / name).read_text(encoding="utf-8"), _Loader)


def resolved(name: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The resources that exist under these parameters, by logical id, with their functions evaluated."""
    document = template(name)
    values = {
        **{key: spec.get("Default") for key, spec in document["Parameters"].items()},
        **PSEUDO,
        **parameters,
    }
    conditions: dict[str, bool] = {}
    for key, spec in document.get("Conditions", {}).items():
        conditions[key] = bool(_value(spec, values, conditions))
    return {
        key: _value(resource, values, conditions)
        for key, resource in document["Resources"].items()
        if conditions.get(resource.get("Condition", ""), True)
    }


def role_policies(resources: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Every role's policy documents by the role's name: inline ones, and managed ones of the same template."""
    found = {}
    for resource in resources.values():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        properties = resource["Properties"]
        managed = [
            resources[name.removeprefix("ref:")]["Properties"]["PolicyDocument"]
            for name in properties.get("ManagedPolicyArns", [])
        ]
        inline = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        found[properties["RoleName"]] = [*managed, *inline]
    return found


def _value(node: Any, values: Mapping[str, Any], conditions: Mapping[str, bool]) -> Any:
    def inner(part: Any) -> Any:
        return _value(part, values, conditions)

    if isinstance(node, list):
        return [item for item in map(inner, node) if item is not _ABSENT]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (function, argument), *_ = node.items()
        match function:
            case "Ref" if argument == "AWS::NoValue":
                return _ABSENT
            case "Ref":
                return values.get(argument, f"ref:{argument}")
            case "Fn::GetAtt":
                return f"att:{'.'.join(argument)}"
            case "Fn::Sub":
                text = argument
                for key, value in values.items():
                    text = text.replace(f"${{{key}}}", str(value))
                return text
            case "Fn::If":
                return inner(argument[1] if conditions[argument[0]] else argument[2])
            case "Fn::Equals":
                return inner(argument[0]) == inner(argument[1])
            case "Fn::Not":
                return not inner(argument[0])
    pairs = ((key, inner(value)) for key, value in node.items())
    return {key: value for key, value in pairs if value is not _ABSENT}
