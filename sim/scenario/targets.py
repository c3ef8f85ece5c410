"""From the dotted path of a parameter to the annotation that reads it.

Rule decided here: a path follows the keys of the file, aliases included.
"""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sim.scenario.governing import Governance
from sim.scenario.leaves import Leaf
from sim.scenario.rules import Attribution, Emission, Fees, Grants, OperatorPay, Staking

_SECTIONS: dict[str, type[BaseModel]] = {
    "attribution": Attribution,
    "emission": Emission,
    "fees": Fees,
    "governance": Governance,
    "grants": Grants,
    "operator_pay": OperatorPay,
    "staking": Staking,
}


def fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of `model` by the key that a file uses for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def submodel(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside ``X``, ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is None:
        return None
    found = [submodel(argument) for argument in get_args(annotation)]
    return next((model for model in found if model is not None), None)


def leaf_of(path: str) -> Leaf:
    """Return the annotation of a governed parameter.

    Raises
    ------
    KeyError
        If the path names none.
    """
    section, _, rest = path.partition(".")
    return leaf_at(_SECTIONS[section], rest)


def leaf_at(model: type[BaseModel], path: str) -> Leaf:
    """Return the annotation of the parameter at a dotted path below `model`.

    Raises
    ------
    KeyError
        If the path names none.
    """
    current: type[BaseModel] | None = model
    field: FieldInfo | None = None
    for key in path.split("."):
        if key.isdigit():
            continue  # a position of a list, whose entries are alike
        if current is None:
            raise KeyError(path)
        field = fields_by_key(current)[key]
        current = submodel(field.annotation)
    found = [item for item in (field.metadata if field else ()) if isinstance(item, Leaf)]
    if not found:
        raise KeyError(path)
    return found[0]
