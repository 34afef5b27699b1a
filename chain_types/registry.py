"""The runtime's types at work: codecs made from metadata, and comparison with our own.

Values of types that have no dataclass here are plain: a struct is a dict (a tuple without names,
the value itself for a newtype), an enum a `Choice`, a vector of bytes `bytes`, any other a tuple.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain_types import metadata, scale
from chain_types.metadata import Primitive

MAX_DEPTH = 64

_INTEGERS = {
    Primitive.U8: scale.Int(1),
    Primitive.U16: scale.Int(2),
    Primitive.U32: scale.Int(4),
    Primitive.U64: scale.Int(8),
    Primitive.U128: scale.Int(16),
    Primitive.U256: scale.Int(32),
    Primitive.I8: scale.Int(1, signed=True),
    Primitive.I16: scale.Int(2, signed=True),
    Primitive.I32: scale.Int(4, signed=True),
    Primitive.I64: scale.Int(8, signed=True),
    Primitive.I128: scale.Int(16, signed=True),
    Primitive.I256: scale.Int(32, signed=True),
}


@dataclass(frozen=True)
class Choice:
    """A value of an enum that has no dataclass here."""

    name: str
    value: Any


class Registry:
    """The types of one runtime."""

    def __init__(self, types: Sequence[metadata.PortableType]) -> None:
        self._types = {portable.id: portable.type for portable in types}

    def type(self, identifier: int) -> metadata.Type:
        """Return a type.

        Raises:
            DecodeError: the metadata refers to a type that it does not have.
        """
        try:
            return self._types[identifier]
        except KeyError:
            raise scale.DecodeError(f"the metadata has no type {identifier}") from None

    def inner(self, identifier: int) -> int:
        """Return what a type is once wrappers that add no bytes are taken off."""
        for _ in range(MAX_DEPTH):
            definition = self.type(identifier).definition
            if (
                isinstance(definition, metadata.CompositeType)
                and len(definition.fields) == 1
                and definition.fields[0].name is None
            ):
                identifier = definition.fields[0].type
            elif isinstance(definition, metadata.TupleType) and len(definition.items) == 1:
                identifier = definition.items[0]
            else:
                return identifier
        raise scale.DecodeError(f"type {identifier} is nested too deeply")

    def definition(self, identifier: int) -> metadata.Definition:
        """Return the definition of a type without its wrappers."""
        return self.type(self.inner(identifier)).definition

    def variants(self, identifier: int) -> tuple[metadata.Variant, ...]:
        """Return the variants of an enum.

        Raises:
            DecodeError: the type is no enum.
        """
        definition = self.definition(identifier)
        if not isinstance(definition, metadata.VariantType):
            raise scale.DecodeError(f"{self.describe(identifier)} is no enum")
        return definition.variants

    def is_empty(self, identifier: int) -> bool:
        """Whether values of a type have no bytes."""
        return self._is_empty(identifier, MAX_DEPTH)

    def _is_empty(self, identifier: int, depth: int) -> bool:
        if depth == 0:
            raise scale.DecodeError(f"type {identifier} is nested too deeply")
        definition = self.type(identifier).definition
        match definition:
            case metadata.CompositeType(fields):
                return all(self._is_empty(field.type, depth - 1) for field in fields)
            case metadata.TupleType(items):
                return all(self._is_empty(item, depth - 1) for item in items)
            case metadata.ArrayType(length, item):
                return length == 0 or self._is_empty(item, depth - 1)
            case _:
                return False

    def read(self, identifier: int, source: scale.Reader, depth: int = MAX_DEPTH) -> Any:
        """Read a plain value of a type.

        Raises:
            DecodeError: the bytes are no such value, or it is nested too deeply.
        """
        if depth == 0:
            raise scale.DecodeError("the value is nested too deeply")
        definition = self.type(identifier).definition
        match definition:
            case metadata.CompositeType(fields):
                return self.read_fields(fields, source, depth - 1)
            case metadata.VariantType(variants):
                return self._read_variant(variants, source, depth - 1)
            case metadata.SequenceType(item):
                # A vector of values without bytes could claim any length: what is left bounds it.
                count = scale.Compact(limit=2**32 - 1).read(source)
                if count > source.left:
                    raise scale.DecodeError(f"{count} items in {source.left} bytes")
                return self._read_items(item, count, source, depth - 1)
            case metadata.ArrayType(length, item):
                if length > source.left:
                    raise scale.DecodeError(f"{length} items in {source.left} bytes")
                return self._read_items(item, length, source, depth - 1)
            case metadata.TupleType(items):
                return tuple(self.read(item, source, depth - 1) for item in items)
            case metadata.PrimitiveType(primitive):
                return self._read_primitive(primitive, source)
            case metadata.CompactType(inner):
                return None if self.is_empty(inner) else scale.Compact().read(source)
            case metadata.BitSequenceType():
                raise scale.DecodeError("sequences of bits are not supported")

    def read_fields(
        self, fields: Sequence[metadata.Field], source: scale.Reader, depth: int = MAX_DEPTH
    ) -> Any:
        """Read the fields of a struct or variant, in the form that the module's docstring says."""
        values = []
        for position, field in enumerate(fields):
            try:
                values.append(self.read(field.type, source, depth))
            except scale.DecodeError as error:
                raise error.within(field.name or f"[{position}]") from None
        if fields and all(field.name is not None for field in fields):
            return {field.name: value for field, value in zip(fields, values, strict=True)}
        return values[0] if len(values) == 1 else tuple(values)

    def _read_variant(
        self, variants: Sequence[metadata.Variant], source: scale.Reader, depth: int
    ) -> Any:
        index = source.take(1)[0]
        for variant in variants:
            if variant.index == index:
                return Choice(variant.name, self.read_fields(variant.fields, source, depth))
        raise scale.DecodeError(f"no variant {index}")

    def _read_items(self, item: int, count: int, source: scale.Reader, depth: int) -> Any:
        if self.definition(item) == metadata.PrimitiveType(Primitive.U8):
            return source.take(count)
        return tuple(self.read(item, source, depth) for _ in range(count))

    @staticmethod
    def _read_primitive(primitive: Primitive, source: scale.Reader) -> Any:
        match primitive:
            case Primitive.BOOL:
                return scale.Bool().read(source)
            case Primitive.CHAR:
                return scale.Int(4).read(source)
            case Primitive.STR:
                return scale.Text(source.left).read(source)
            case _:
                return _INTEGERS[primitive].read(source)

    def describe(self, identifier: int) -> str:
        """Return a short name of a type for a message."""
        path = self.type(identifier).path
        definition = self.type(identifier).definition
        match definition:
            case metadata.PrimitiveType(primitive):
                return primitive.name.lower()
            case metadata.SequenceType(item):
                return f"Vec<{self.describe(item)}>"
            case metadata.ArrayType(length, item):
                return f"[{self.describe(item)}; {length}]"
            case metadata.CompactType(inner):
                return f"Compact<{self.describe(inner)}>"
            case metadata.TupleType(items):
                return f"({', '.join(self.describe(item) for item in items)})"
            case _:
                return path[-1] if path else f"type {identifier}"

    def difference(self, codec: scale.Codec[Any], identifier: int) -> str | None:
        """Say how a type's encoding differs from `codec`'s; None if it does not.

        Bounds of vectors are not in the metadata, so they are not compared.
        """
        identifier = self.inner(identifier)
        definition = self.type(identifier).definition
        match codec, definition:
            case scale.Unit(), _ if self.is_empty(identifier):
                return None
            case scale.Bool(), metadata.PrimitiveType(Primitive.BOOL):
                return None
            case scale.Text(), metadata.PrimitiveType(Primitive.STR):
                return None
            case scale.Int(), metadata.PrimitiveType(primitive) if (
                _INTEGERS.get(primitive) == codec
            ):
                return None
            case scale.Compact(), metadata.CompactType():
                return None
            case scale.FixedBytes(length), metadata.ArrayType(count, item) if length == count:
                return self.difference(scale.Int(1), item)
            case scale.Bytes(), metadata.SequenceType(item):
                return self.difference(scale.Int(1), item)
            case scale.Vec(ours), metadata.SequenceType(item):
                return self.difference(ours, item)
            case scale.Array(ours, length), metadata.ArrayType(count, item) if length == count:
                return self.difference(ours, item)
            case scale.Tuple(items), metadata.TupleType(theirs) if len(items) == len(theirs):
                return self._first(
                    (f"[{position}]", self.difference(ours, item))
                    for position, (ours, item) in enumerate(zip(items, theirs, strict=True))
                )
            case scale.Option(ours), metadata.VariantType((none, some)) if (
                none.name == "None" and some.name == "Some"
            ):
                return self.difference(ours, some.fields[0].type)
            case scale.Struct(), metadata.CompositeType(fields):
                return self.fields_difference(codec, fields)
            case scale.Index(kind), metadata.VariantType(variants):
                names = {member.value: _camel(member.name) for member in kind}
                if names == {variant.index: variant.name for variant in variants} and not any(
                    variant.fields for variant in variants
                ):
                    return None
                return f"the variants of {kind.__name__} differ"
            case scale.Variants(cases, partial), metadata.VariantType(variants):
                if partial:
                    variants = tuple(variant for variant in variants if variant.index in cases)
                return self._variants_difference(cases, variants)
        return f"{_name(codec)} expected, the runtime has {self.describe(identifier)}"

    @staticmethod
    def _first(differences: Any) -> str | None:
        for where, difference in differences:
            if difference is not None:
                return f"{where}: {difference}"
        return None

    def fields_difference(
        self, codec: scale.Struct[Any], fields: Sequence[metadata.Field]
    ) -> str | None:
        """Say how the fields of a struct, variant, call or event differ from a dataclass."""
        if len(fields) == 1 and fields[0].name is None:
            inner = self.definition(fields[0].type)
            if isinstance(inner, metadata.CompositeType) and codec.fields:
                return self.fields_difference(codec, inner.fields)
        if all(field.name is None for field in fields) and len(fields) == len(codec.fields):
            named = [name for name, _ in codec.fields]
        else:
            named = [str(field.name) for field in fields]
        ours = [name for name, _ in codec.fields]
        if named != ours:
            return f"fields {', '.join(ours)} expected, the runtime has {', '.join(named)}"
        return self._first(
            (name, self.difference(inner_codec, field.type))
            for (name, inner_codec), field in zip(codec.fields, fields, strict=True)
        )

    def _variants_difference(
        self,
        cases: Mapping[int, tuple[str, scale.Struct[Any]]],
        variants: Sequence[metadata.Variant],
    ) -> str | None:
        ours = {index: name for index, (name, _) in cases.items()}
        theirs = {variant.index: variant.name for variant in variants}
        if ours != theirs:
            return f"variants {ours} expected, the runtime has {theirs}"
        return self._first(
            (variant.name, self.fields_difference(cases[variant.index][1], variant.fields))
            for variant in variants
        )


def _camel(constant: str) -> str:
    return "".join(part.capitalize() for part in constant.split("_"))


def _name(codec: scale.Codec[Any]) -> str:
    match codec:
        case scale.Int(width, signed):
            return f"{'i' if signed else 'u'}{8 * width}"
        case scale.FixedBytes(length):
            return f"[u8; {length}]"
        case scale.Struct(kind) | scale.Index(kind):
            return kind.__name__
        case _:
            return type(codec).__name__
