"""Leaving secrets out of whatever is kept: audit rows, stored answers, dry runs."""

from collections.abc import Sequence
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def without_secrets(model: BaseModel) -> dict[str, Any]:
    """The model as JSON values, every `Secret` field emptied, at any depth."""
    data = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value and is_secret(field):
            data[name] = ""
        else:
            data[name] = _clean(value, data[name])
    return data


def is_secret(field: FieldInfo) -> bool:
    """True for a field of type `Secret`, optional or not."""
    return _marked(field) or any(map(_marked_type, get_args(field.annotation)))


def is_content(field: FieldInfo) -> bool:
    """True for a field of type `Content`, optional or not."""
    return _marked(field, "content") or any(
        _marked_type(hint, "content") for hint in get_args(field.annotation)
    )


def is_folder(field: FieldInfo) -> bool:
    """True for a field of type `Folder`."""
    return _marked(field, "folder")


def _clean(value: Any, plain: Any) -> Any:
    if isinstance(value, BaseModel):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        items = cast(Sequence[Any], value)
        return [_clean(item, shown) for item, shown in zip(items, plain, strict=True)]
    return plain


def _marked_type(hint: Any, format: str = "password") -> bool:
    if get_origin(hint) is not Annotated:
        return False
    return any(isinstance(mark, FieldInfo) and _marked(mark, format) for mark in hint.__metadata__)


def _marked(field: FieldInfo, format: str = "password") -> bool:
    return field.json_schema_extra == {"format": format}
