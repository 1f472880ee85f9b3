"""Writes src/opt/sixteen_bit_types.inc: which inputs and outputs of which ONNX operators may be float16 or bfloat16 where
they may be float, by the opset from which they may.

    PYTHONPATH=folder-of-onnx-1.22 python tools/make_sixteen_bit_types.py > src/opt/sixteen_bit_types.inc
"""

from onnx import defs

OLDEST, NEWEST = 13, 24
KINDS = {"f16": "float16", "bf16": "bfloat16"}


def mask(schema, parameters, kind):
    """Bit i: parameter i takes float and `kind`. A variadic one stands for all that follow (bit 31)."""
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    bits = 0
    for i, parameter in enumerate(parameters):
        types = allowed.get(parameter.type_str, {parameter.type_str})
        if not {"tensor(float)", f"tensor({kind})"} <= types:
            continue
        variadic = parameter.option == defs.OpSchema.FormalParameterOption.Variadic
        bits |= (1 << i) | (1 << 31 if variadic else 0)
    return bits


def main():
    rows = []
    for name in sorted({s.name for s in defs.get_all_schemas() if s.domain == ""}):
        before = (0, 0, 0, 0)
        for opset in range(OLDEST, NEWEST + 1):
            try:
                schema = defs.get_schema(name, opset, "")
            except defs.SchemaError:
                continue
            found = tuple(mask(schema, p, k) for k in KINDS.values() for p in (schema.inputs, schema.outputs))
            if found != before:
                rows.append((name, opset, *found))
            before = found
    print("// {operator, first opset, f16: inputs, outputs, bf16: inputs, outputs}; bit i: of parameter i, bit 31: and all after.")
    print("// Made by tools/make_sixteen_bit_types.py.")
    for name, opset, *bits in rows:
        print(f'{{"{name}", {opset}, ' + ", ".join(f"0x{b:x}u" for b in bits) + "},")


if __name__ == "__main__":
    main()
