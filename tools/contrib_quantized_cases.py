"""Cases of make_contrib_goldens.py: quantised values."""
import numpy as np
from make_contrib_goldens import Constant, case, rng_of
from onnx import TensorProto

F32, F16, U8, I8, U16, I16, I32, I64 = (np.float32, np.float16, np.uint8, np.int8, np.uint16, np.int16, np.int32,
                                        np.int64)


def floats(name, *shape, dtype=F32):
    return rng_of(name).standard_normal(shape).astype(dtype)


def ints(name, dtype, *shape, low=None, high=None):
    info = np.iinfo(dtype)
    return rng_of(name).integers(info.min if low is None else low, info.max + 1 if high is None else high, shape,
                                 dtype)


def scale(value):
    return Constant(np.array(value, F32))


def pack(codes, bits):
    """[.., n] codes below 2^bits as bytes, the first one lowest; n is filled up to whole bytes."""
    each = 8 // bits
    filled = np.concatenate([codes, np.zeros((*codes.shape[:-1], -codes.shape[-1] % each), U8)], -1).astype(np.uint16)
    groups = filled.reshape(*codes.shape[:-1], -1, each)
    return (groups << (bits * np.arange(each, dtype=np.uint16))).sum(-1).astype(U8)


def n_bits(name, n, k, block, bits, *, zeros=None, bias=False, dtype=F32, stored=True, symbolic=False):
    """A [2, 3, k] times a matrix [n, k] in blocks. `zeros`: None, "packed" or "float"."""
    blocks = -(-k // block)
    b = pack(ints(name, U8, n, blocks * block, low=0, high=1 << bits), bits).reshape(n, blocks, -1)
    scales = ((0.02 + 0.05 * np.abs(floats(name + " scales", n, blocks))) / (1 << bits - 2)).astype(dtype)
    points = ints(name + " zeros", U8, n, blocks, low=0, high=1 << bits)
    zero = {None: None, "packed": pack(points, bits), "float": (points + F32(0.25)).astype(dtype)}[zeros]
    keep = Constant if stored else (lambda x: x)
    inputs = [floats(name + " a", 2, 3, k, dtype=dtype), keep(b), keep(scales), None if zero is None else keep(zero),
              None, Constant(floats(name + " bias", n, dtype=dtype)) if bias else None]
    dims = {0: ["batch", "sequence", k]} if symbolic else None
    case(f"mat_mul_n_bits_{name}", "MatMulNBits", inputs, (dtype,), dims=dims, N=n, K=k, block_size=block, bits=bits)


def n_bits_cases():
    n_bits("4", 8, 64, 32, 4, symbolic=True)
    n_bits("4_zeros", 8, 64, 32, 4, zeros="packed")
    n_bits("4_zeros_odd", 5, 96, 32, 4, zeros="packed")
    n_bits("4_ragged", 6, 72, 32, 4, zeros="packed", bias=True)
    n_bits("4_ragged_plain", 6, 40, 16, 4)
    n_bits("4_float_zeros", 6, 64, 32, 4, zeros="float")
    n_bits("4_f16", 8, 64, 16, 4, zeros="packed", dtype=F16)
    n_bits("4_inputs", 5, 96, 32, 4, zeros="packed", stored=False)
    n_bits("4_inputs_plain", 5, 72, 32, 4, stored=False)
    n_bits("8", 8, 64, 32, 8, bias=True)
    n_bits("8_zeros", 5, 96, 32, 8, zeros="packed")
    n_bits("8_ragged", 5, 40, 32, 8, zeros="packed")
    n_bits("2", 8, 64, 32, 2)
    n_bits("2_zeros", 6, 96, 32, 2, zeros="packed")


def gather_cases():
    op = "GatherBlockQuantized"
    indices = np.array([[0, 3], [5, 1]], I64)
    codes, points = ints("rows", U8, 6, 64, low=0, high=16), ints("row zeros", U8, 6, 2, low=0, high=16)
    scales = Constant(0.02 + np.abs(floats("row scales", 6, 2)))
    u4 = TensorProto.UINT4
    case("gather_block_quantized_u4", op, [Constant(codes, u4), indices, scales, Constant(points, u4)], block_size=32,
         gather_axis=0, quantize_axis=1)
    case("gather_block_quantized_u4_odd", op,  # zero points whose rows end within a byte
         [Constant(ints("odd", U8, 6, 96, low=0, high=16), u4), indices, Constant(0.02 + np.abs(floats("odd", 6, 3))),
          Constant(ints("odd zeros", U8, 6, 3, low=0, high=16), u4)], block_size=32, gather_axis=0, quantize_axis=1)
    case("gather_block_quantized_i4", op, [Constant(codes.astype(I8) - I8(8), TensorProto.INT4), indices, scales],
         block_size=32, gather_axis=0, quantize_axis=-1, dims={1: ["batch", "sequence"]})
    case("gather_block_quantized_blocks", op,
         [Constant(codes.T.copy(), u4), np.array([3, 40], I32), Constant(scales.values.T.copy())], block_size=32,
         gather_axis=0, quantize_axis=0)
    case("gather_block_quantized_columns", op, [Constant(codes.T.copy(), u4), indices,
                                                Constant(scales.values.T.copy())],
         block_size=32, gather_axis=1, quantize_axis=0)
    case("gather_block_quantized_packed", op, [Constant(pack(codes, 4)), indices, scales], block_size=32, gather_axis=0,
         quantize_axis=1)
    case("gather_block_quantized_packed_zeros", op, [Constant(pack(codes, 4)), indices, scales,
                                                     Constant(pack(points, 4))],
         block_size=32, gather_axis=0, quantize_axis=1)
    case("gather_block_quantized_bytes", op,
         [Constant(ints("bytes", U8, 6, 64)), indices, scales, Constant(ints("byte zeros", U8, 6, 2))], block_size=32,
         gather_axis=0, quantize_axis=1, bits=8)


def q_linear_cases():
    for dtype, name, zero in ((U8, "u8", 120), (I8, "i8", -7)):
        a, b = ints("qa", dtype, 2, 3, 8), ints("qb", dtype, 3, 8)
        za, zb, zc = (Constant(np.array(zero + d, dtype)) for d in (0, 3, -5))
        sa, sb, sc = scale(0.0307), scale(0.0171), scale(0.0433)  # no ties
        binary = [a, sa, za, b, sb, zb, sc, zc]
        unary = [a, sa, za, scale(1 / 130), zc]
        case(f"q_linear_add_{name}", "QLinearAdd", binary, (dtype,))
        case(f"q_linear_mul_{name}", "QLinearMul", binary, (dtype,), dims={0: ["batch", "sequence", 8]})
        case(f"q_linear_sigmoid_{name}", "QLinearSigmoid", unary, (dtype,))
        case(f"q_linear_leaky_relu_{name}", "QLinearLeakyRelu", [a, sa, za, sc, zc], (dtype,), alpha=0.2)
        softmax = [a, sa, za, scale(1 / 256), Constant(np.array(0 if dtype == U8 else -128, dtype))]
        case(f"q_linear_softmax_{name}", "QLinearSoftmax", softmax, (dtype,), opset_=13, axis=-1)
        case(f"q_linear_softmax_axis_{name}", "QLinearSoftmax", softmax, (dtype,), opset_=13, axis=1)
        case(f"q_linear_softmax_old_{name}", "QLinearSoftmax", softmax, (dtype,), opset_=11, axis=1)
        case(f"q_linear_concat_{name}", "QLinearConcat", [sc, zc, a, sa, za, ints("qc", dtype, 2, 2, 8), sb, zb],
             (dtype,), axis=1)
        case(f"q_linear_where_{name}", "QLinearWhere",
             [ints("where", U8, 2, 1, 8, low=0, high=2).astype(bool), a, sa, za, b, sb, zb, sc, zc], (dtype,))
        window_cases(dtype, name, sa, za, sc, zc)
    a = ints("qa", U8, 2, 3, 8)
    for dtype in (U8, I8):  # ONNX Runtime infers no type without zero points, which the schema makes optional
        x, y = ints("no zeros", dtype, 2, 3), ints("no zeros either", dtype, 2, 3)
        limits = np.iinfo(dtype).min, np.iinfo(dtype).max
        case(f"q_linear_add_no_zeros_{np.dtype(dtype)}", "QLinearAdd",
             [x, scale(0.02), None, y, scale(0.01), None, scale(0.025)], (dtype,),
             lambda p, s, _, q, t, __, u: [np.clip(np.rint((p * float(s) + q * float(t)) / u),
                                                   *limits).astype(p.dtype)])
    case("q_linear_reduce_mean", "QLinearReduceMean", [a, scale(0.02), Constant(np.array(9, U8)), scale(0.01)], (U8,),
         lambda x, s, z, t: [np.clip(np.rint(((x.astype(float) - z) * s).mean((1, 2)) / t), 0, 255).astype(U8)],
         axes=[1, 2], keepdims=0)


def window_cases(dtype, name, sx, zx, sy, zy):
    x = ints("qx", dtype, 2, 4, 5, 6)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    pool = {"kernel_shape": [3, 2], "strides": [2, 2]}
    case(f"q_linear_average_pool_{name}", "QLinearAveragePool", [x, sx, zx, sy, zy], (dtype,), pads=[1, 0, 1, 1],
         **pool)
    case(f"q_linear_average_pool_padding_{name}", "QLinearAveragePool", [x, sx, zx, sy, zy], (dtype,),
         pads=[1, 0, 1, 1], count_include_pad=1, **pool)
    case(f"q_linear_average_pool_last_{name}", "QLinearAveragePool", [last, sx, zx, sy, zy], (dtype,), channels_last=1,
         ceil_mode=1, **pool)
    case(f"q_linear_global_average_pool_{name}", "QLinearGlobalAveragePool", [x, sx, zx, sy, zy], (dtype,))
    case(f"q_linear_global_average_pool_last_{name}", "QLinearGlobalAveragePool", [last, sx, zx, sy, zy], (dtype,),
         channels_last=1)
    case(f"nhwc_max_pool_{name}", "NhwcMaxPool", [last], (dtype,), pads=[1, 0, 1, 1], **pool)
    w, bias = Constant(ints("qw", I8, 6, 2, 3, 3)), Constant(ints("conv bias", I32, 6, low=-900, high=900))
    conv = [sx, zx, w, Constant(0.01 + np.abs(floats("w scales", 6)) / 50), Constant(np.zeros(6, I8)), sy, zy, bias]
    case(f"q_linear_conv_last_{name}", "QLinearConv", [last, *conv], (dtype,), channels_last=1, group=2,
         pads=[1, 1, 1, 1])
    case(f"q_linear_conv_first_{name}", "QLinearConv", [x, *conv], (dtype,), group=2, strides=[2, 1])


def embed_cases():
    ids, segments = np.array([[3, 1, 4, 1], [5, 9, 2, 0]], I32), np.array([[0, 0, 1, 1], [0, 1, 1, 1]], I32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], I32)
    words, positions, kinds = (Constant(ints("table", U8, rows, 8)) for rows in (10, 6, 2))
    gamma, beta = Constant(ints("q gamma", U8, 8)), Constant(ints("q beta", U8, 8))
    scales = [scale(x) for x in (0.011, 0.012, 0.013, 0.014, 0.015)]
    zeros = [Constant(np.array(x, U8)) for x in (128, 127, 120, 100, 131)]
    tables = [words, positions, kinds, gamma, beta]
    op = "QEmbedLayerNormalization"
    case("q_embed_layer_normalization", op, [ids, segments, *tables, mask, *scales, *zeros], (F32, I32), epsilon=1e-5)
    without = [None if i == 2 else x for i, x in enumerate(tables)], [None if i == 2 else x for i, x in enumerate(scales)]
    case("q_embed_layer_normalization_no_segments", op,
         [ids, None, *without[0], None, *without[1], *[None if i == 2 else x for i, x in enumerate(zeros)]], (F32, I32))


def product_cases():
    a, w = ints("pa", U8, 2, 3, 8), Constant(ints("pw", I8, 8, 5))
    zero_a, zero_w = Constant(np.array(131, U8)), Constant(ints("pz", I8, 5))
    columns, bias = Constant(0.01 + np.abs(floats("columns", 5)) / 50), Constant(floats("pbias", 5))
    x = floats("px", 2, 3, 8)
    op = "MatMulIntegerToFloat"
    case("mat_mul_integer_to_float", op, [a, w, scale(0.03), scale(0.01)])
    case("mat_mul_integer_to_float_columns", op, [a, w, scale(0.03), columns, zero_a, zero_w, bias],
         dims={0: ["batch", "sequence", 8]})
    op = "DynamicQuantizeMatMul"
    case("dynamic_quantize_mat_mul", op, [x, w, scale(0.01)], dims={0: ["batch", "sequence", 8]})
    case("dynamic_quantize_mat_mul_columns", op, [x, w, columns, zero_w, bias])
    case("dynamic_quantize_mat_mul_u8", op, [x, Constant(ints("pwu", U8, 8, 5)), scale(0.01),
                                             Constant(np.array(77, U8))])
    c = Constant(ints("pc", I32, 5, low=-500, high=500))
    a2, wt = ints("pa2", U8, 8, 3), Constant(ints("pwt", I8, 5, 8))
    case("q_gemm", "QGemm", [a2, scale(0.03), zero_a, wt, columns, zero_w, c, scale(0.2), Constant(np.array(99, U8))],
         (U8,), transA=1, transB=1, alpha=0.5)
    case("q_gemm_float", "QGemm", [a[0], scale(0.03), zero_a, w, scale(0.01), Constant(np.array(3, I8)), c])
    case("q_gemm_no_c", "QGemm", [a[0], scale(0.03), zero_a, w, scale(0.01), Constant(np.array(3, I8)), None,
                                  scale(0.1), Constant(np.array(128, U8))], (U8,))
    case("mat_mul_integer16", "MatMulInteger16", [ints("p16", I16, 3, 4), ints("q16", I16, 4, 5)], (I32,))
    case("mat_mul_integer16_unsigned", "MatMulInteger16",
         [ints("p16", U16, 3, 4, high=9000), ints("q16", U16, 4, 5, high=9000)], (np.uint32,),
         lambda p, q: [p.astype(np.uint32) @ q.astype(np.uint32)])


def linear_cases():
    x, zero = floats("lx", 2, 3, 4), Constant(np.array(100, U8))
    axis, zeros = Constant(np.array([0.1, 0.02, 0.3], F32)), Constant(np.array([1, 2, -3], I8))
    case("quantize_linear", "QuantizeLinear", [x, scale(0.02), zero], (U8,))
    case("quantize_linear_axis", "QuantizeLinear", [x, axis, zeros], (I8,), axis=1)
    case("quantize_linear_u16", "QuantizeLinear", [x, scale(0.0001), Constant(np.array(33000, U16))], (U16,))
    case("dequantize_linear", "DequantizeLinear", [ints("dx", U8, 2, 3, 4), scale(0.02), zero])
    case("dequantize_linear_axis", "DequantizeLinear", [ints("dx", I8, 2, 3, 4), axis, zeros], axis=1)
    case("dequantize_linear_i32", "DequantizeLinear", [ints("dx", I32, 2, 3, low=-900, high=900), scale(0.02)])


def lstm_cases():
    """ONNX Runtime rounds x and the hidden state to bytes at each step: nothing is lost where x is whole steps of its
    own range and there is one step, which begins with a hidden state of zeros."""
    hidden, columns, batch = 3, 4, 2

    def weights(name, directions, rows, dtype, by_row):
        shape = (directions, 4 * hidden) if by_row else (directions,)
        return [Constant(ints(name, dtype, directions, rows, 4 * hidden)),
                Constant((0.002 + np.abs(floats(name + " scale", *shape)) / 300).astype(F32)),
                Constant(ints(name + " zero", dtype, *shape) if dtype == U8 else np.zeros(shape, dtype))]

    def lstm(name, steps, directions, dtype, by_row, x, tolerance=None, **attributes):
        w, w_scale, w_zero = weights(name + " w", directions, columns, dtype, by_row)
        r, r_scale, r_zero = weights(name + " r", directions, hidden, dtype, by_row)
        bias = Constant(floats(name + " b", directions, 8 * hidden))
        h, c = np.zeros((directions, batch, hidden), F32), floats(name + " c", directions, batch, hidden)
        case(name, "DynamicQuantizeLSTM", [x, w, r, bias, None, h, c, None, w_scale, w_zero, r_scale, r_zero],
             (F32, F32, F32), dims={0: ["steps", "batch", columns]}, tolerance=tolerance, hidden_size=hidden, **attributes)

    whole = ints("lstm", U8, 1, batch, columns).astype(F32)
    whole[0, 0, :2] = 0, 255
    lstm("dynamic_quantize_lstm", 1, 1, I8, False, whole / 128)
    lstm("dynamic_quantize_lstm_both", 1, 2, U8, False, whole / 128, direction="bidirectional")
    lstm("dynamic_quantize_lstm_rows", 1, 1, I8, True, whole / 128, direction="reverse")
    lstm("dynamic_quantize_lstm_steps", 5, 1, I8, True, floats("steps", 5, batch, columns), tolerance=(0, 2e-2))


def write_cases():
    n_bits_cases()
    lstm_cases()
    gather_cases()
    q_linear_cases()
    embed_cases()
    product_cases()
    linear_cases()
