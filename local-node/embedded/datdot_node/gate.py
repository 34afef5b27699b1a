"""The way from WebAssembly into Python.

wasmtime's own conversion of arguments and results takes longer than most host functions. So the
runtime is linked with small WebAssembly functions, which put their arguments into a memory of the
gate, call a Python function without any, and take the result out of the same memory.
"""

import ctypes
from collections.abc import Callable, Mapping
from functools import cache

import wasmtime

from datdot_node.errors import BadRuntime
from datdot_node.host import HOST_FUNCTIONS, Call, HostFunction

_TYPES = {"i": "i32", "I": "i64"}
_MOST_PARAMETERS = 8


@cache
def compile_gate(engine: wasmtime.Engine) -> wasmtime.Module:
    """The gate's module for all host functions."""
    names = sorted(HOST_FUNCTIONS)
    imports = "".join(f'(import "host" "{name}" (func ${name}))' for name in names)
    functions = "".join(_function(name, HOST_FUNCTIONS[name]) for name in names)
    return wasmtime.Module(engine, f'(module {imports}(memory (export "memory") 1){functions})')


def _function(name: str, host: HostFunction) -> str:
    parameters = " ".join(_TYPES[each] for each in host.parameters)
    stores = "".join(
        f"({_TYPES[each]}.store (i32.const {8 * index}) (local.get {index}))"
        for index, each in enumerate(host.parameters)
    )
    result = f"(result {_TYPES[host.result]})" if host.result else ""
    load = f"({_TYPES[host.result]}.load (i32.const 0))" if host.result else ""
    return f'(func (export "{name}") (param {parameters}) {result}{stores}(call ${name}){load})'


class Gate:
    """The host functions in one store. `call` is the call that they work for."""

    def __init__(self, store: wasmtime.Store, engine: wasmtime.Engine) -> None:
        self.call: Call | None = None
        self._words = (ctypes.c_uint64 * _MOST_PARAMETERS)()
        signature = wasmtime.FuncType([], [])
        module = compile_gate(engine)
        imports = [
            wasmtime.Func(store, signature, self._bind(HOST_FUNCTIONS[str(each.name)]))
            for each in module.imports
        ]
        exports = wasmtime.Instance(store, module, imports).exports(store)
        memory = exports["memory"]
        if not isinstance(memory, wasmtime.Memory):
            raise TypeError("the gate exports its memory")
        address = ctypes.addressof(memory.data_ptr(store).contents)
        self._words = (ctypes.c_uint64 * _MOST_PARAMETERS).from_address(address)
        self.functions: Mapping[str, wasmtime.Func] = {
            name: each for name, each in exports.items() if isinstance(each, wasmtime.Func)
        }

    def _bind(self, host: HostFunction) -> Callable[[], None]:
        function, count = host.function, len(host.parameters)
        masks = [0xFFFFFFFF if each == "i" else 0xFFFFFFFFFFFFFFFF for each in host.parameters]

        def run() -> None:
            if self.call is None:
                raise BadRuntime("the runtime calls the host outside of a call")
            words = self._words
            arguments = [words[index] & masks[index] for index in range(count)]
            result = function(self.call, *arguments)
            if result is not None:
                words[0] = result

        return run
