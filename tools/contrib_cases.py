"""Cases of make_contrib_goldens.py: what computes in floats, and operators that ONNX has by now."""
import math

import numpy as np
from make_contrib_goldens import Constant, case, rng_of

F32, F16, I32, I64 = np.float32, np.float16, np.int32, np.int64


def erf_gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def floats(name, *shape, dtype=F32):
    return rng_of(name).standard_normal(shape).astype(dtype)


def activation_cases():
    x, bias = floats("act", 2, 3, 8), floats("bias", 8)
    case("gelu", "Gelu", [x])
    case("bias_gelu", "BiasGelu", [x, bias])
    case("fast_gelu", "FastGelu", [x])
    case("fast_gelu_bias", "FastGelu", [x, bias])
    case("quick_gelu", "QuickGelu", [x])
    case("quick_gelu_alpha", "QuickGelu", [x], alpha=0.7)
    case("gemm_fast_gelu", "GemmFastGelu", [x, floats("w", 8, 4), floats("b4", 4)], (F32,),
         lambda a, w, b: [tanh_gelu(a.astype(float) @ w + b).astype(F32)])
    case("bias_split_gelu", "BiasSplitGelu", [x, bias], (F32,),
         lambda a, b: [((a + b)[..., :4] * erf_gelu((a + b)[..., 4:].astype(float))).astype(F32)])
    case("bias_add", "BiasAdd", [x, bias, floats("skip", 2, 3, 8)], (F32,), lambda a, b, s: [a + b + s])


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3))


def norm_cases():
    x, skip = floats("norm", 2, 3, 8), floats("norm skip", 2, 3, 8)
    gamma, beta, bias = floats("gamma", 8), floats("beta", 8), floats("norm bias", 8)
    for domain, where in (("", "standard"), ("com.microsoft", "microsoft")):
        formula = None if not domain else lambda a, g: [rms(a, g, 1e-5)]
        case(f"simplified_layer_normalization_{where}", "SimplifiedLayerNormalization", [x, gamma], (F32,), formula,
             domain=domain)
    case("simplified_layer_normalization_deviation", "SimplifiedLayerNormalization", [x, gamma], (F32, F32), domain="",
         epsilon=1e-3, axis=-1)
    case("simplified_layer_normalization_f16", "SimplifiedLayerNormalization", [x.astype(F16), gamma.astype(F16)],
         (F16,), domain="")
    case("skip_layer_normalization", "SkipLayerNormalization", [x, skip, gamma, beta])
    case("skip_layer_normalization_sum", "SkipLayerNormalization", [x, skip, gamma, beta, bias], (F32, None, None, F32),
         epsilon=1e-3, dims={0: ["batch", "sequence", 8], 1: ["batch", "sequence", 8]})
    case("skip_layer_normalization_no_beta", "SkipLayerNormalization", [x, skip, gamma, None, bias])
    case("skip_layer_normalization_broadcast", "SkipLayerNormalization", [x, skip[0], gamma, beta])
    case("skip_simplified_layer_normalization", "SkipSimplifiedLayerNormalization", [x, skip, gamma])
    case("skip_simplified_layer_normalization_sum", "SkipSimplifiedLayerNormalization", [x, skip, gamma, bias],
         (F32, None, None, F32), epsilon=1e-5)
    case("skip_simplified_layer_normalization_f16", "SkipSimplifiedLayerNormalization",
         [v.astype(F16) for v in (x, skip, gamma)], (F16, None, None, F16))
    embed_cases()
    group_norm_cases()


def rms(x, scale, epsilon):
    wide = x.astype(float)
    return (wide / np.sqrt((wide**2).mean(-1, keepdims=True) + epsilon) * scale).astype(F32)


def embed_cases():
    ids = np.array([[3, 1, 4, 1], [5, 9, 2, 0]], I32)
    segments = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], I32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], I32)
    tables = {"words": 10, "positions": 6, "kinds": 2}
    words, positions, kinds = (Constant(floats(name, rows, 8)) for name, rows in tables.items())
    gamma, beta = Constant(floats("gamma", 8)), Constant(floats("beta", 8))
    op = "EmbedLayerNormalization"
    case("embed_layer_normalization", op, [ids, segments, words, positions, kinds, gamma, beta, mask], (F32, I32),
         dims={i: ["batch", "sequence"] for i in (0, 1, 7)})
    case("embed_layer_normalization_no_mask", op, [ids, segments, words, positions, kinds, gamma, beta], (F32, I32))
    case("embed_layer_normalization_sum", op, [ids, None, words, positions, None, gamma, beta, mask], (F32, I32, F32),
         epsilon=1e-5)
    case("embed_layer_normalization_positions", op,
         [ids, segments, words, positions, kinds, gamma, beta, mask, np.array([[0, 1, 2, 3], [2, 3, 4, 5]], I32)],
         (F32, I32), mask_index_type=1)


def group_norm(x, gamma, beta, groups, epsilon=1e-5, silu=False):
    """Channels last."""
    wide = x.astype(float).reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    centred = wide - wide.mean((1, 3), keepdims=True)
    y = (centred / np.sqrt((centred**2).mean((1, 3), keepdims=True) + epsilon)).reshape(x.shape) * gamma + beta
    return (y / (1 + np.exp(-y)) if silu else y).astype(x.dtype)


def group_norm_cases():
    x, gamma, beta = floats("pictures", 2, 3, 3, 8), floats("gamma", 8), floats("beta", 8)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    skip, bias = floats("pictures skip", 2, 3, 3, 8), floats("norm bias", 8)
    case("group_norm", "GroupNorm", [x, gamma, beta], (F32,), lambda *v: [group_norm(*v, 4)], activation=0, groups=4)
    case("group_norm_silu", "GroupNorm", [x.astype(F16), gamma, beta], (F16,),
         lambda *v: [group_norm(*v, 2, 1e-3, True)], activation=1, groups=2, epsilon=1e-3)
    case("group_norm_channels_first", "GroupNorm", [first, gamma, beta], (F32,),
         lambda *v: [group_norm(x, gamma, beta, 4).transpose(0, 3, 1, 2)], activation=0, groups=4, channels_last=0)
    case("skip_group_norm", "SkipGroupNorm", [x, gamma, beta, skip, bias], (F32, F32),
         lambda *v: [group_norm(x + skip + bias, gamma, beta, 4, silu=True), x + skip + bias], activation=1, groups=4)
    case("skip_group_norm_broadcast", "SkipGroupNorm", [x, gamma, beta, skip[:, 0, 0]], (F32,),
         lambda *v: [group_norm(x + skip[:, :1, :1], gamma, beta, 4)], activation=0, groups=4)


def product_cases():
    a, b = floats("a", 2, 3, 4, 5), floats("b", 2, 3, 5, 6)
    case("fused_mat_mul", "FusedMatMul", [a, b], alpha=0.5)
    case("fused_mat_mul_transposed", "FusedMatMul", [np.swapaxes(a, 2, 3).copy(), np.swapaxes(b, 2, 3).copy()],
         transA=1, transB=1, dims={0: ["batch", 3, 5, 4], 1: ["batch", 3, 6, 5]})
    case("fused_mat_mul_batches", "FusedMatMul", [floats("ab", 4, 2, 3, 5), floats("bb", 5, 2, 3, 6)], transBatchA=1,
         transBatchB=1)
    case("fused_mat_mul_batches_transposed", "FusedMatMul", [floats("abt", 5, 2, 3, 4), floats("bbt", 6, 2, 3, 5)],
         transBatchA=1, transBatchB=1, transA=1, transB=1, alpha=2.0)
    case("fused_mat_mul_vector", "FusedMatMul", [floats("v", 5), floats("vb", 6, 5)], transA=1, transB=1)
    case("transpose_mat_mul", "TransposeMatMul", [floats("ta", 5, 4), floats("tb", 5, 6)], transA=1, alpha=0.25)
    for name, extra in (("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.2}), ("Tanh", {}), ("Sigmoid", {}),
                        ("HardSigmoid", {"activation_alpha": 0.3, "activation_beta": 0.4})):
        case(f"fused_gemm_{name.lower()}", "FusedGemm", [floats("ga", 3, 5), floats("gb", 4, 5), floats("gc", 4)],
             activation=name, transB=1, alpha=0.5, beta=2.0, **extra)
    case("fused_gemm_no_c", "FusedGemm", [floats("ga", 5, 3), floats("gb", 5, 4)], activation="Relu", transA=1)
    case("fused_mat_mul_activation", "FusedMatMulActivation", [a, b], (F32,),
         lambda p, q: [np.maximum(p @ q * F32(0.5), 0)], alpha=0.5, activation="Relu")
    matrices = floats("matrices", 2, 3, 4, 4)
    matrices[0, 0] = np.array([[0, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1], [0, 0, 4, 0]])  # every pivot elsewhere
    # The condition of a matrix multiplies what either side rounds.
    case("inverse", "Inverse", [matrices], dims={0: ["batch", 3, 4, 4]}, tolerance=(1e-4, 1e-5))
    case("inverse_matrix", "Inverse", [floats("matrix", 3, 3)], tolerance=(1e-4, 1e-5))


def convolution_cases():
    x, w, bias = floats("x", 1, 4, 6, 6), floats("w", 6, 2, 3, 3), floats("b6", 6)
    z = floats("z", 1, 6, 3, 3)
    shape = {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 2], "kernel_shape": [3, 3]}
    for name, parameters in (("Relu", []), ("Tanh", []), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.5]),
                             ("HardSigmoid", [0.3, 0.4])):
        extra = {"activation_params": parameters} if parameters else {}
        case(f"fused_conv_{name.lower()}", "FusedConv", [x, w, bias], activation=name, **extra, **shape)
    case("fused_conv_residual", "FusedConv", [x, w, bias, z], activation="Relu", **shape)
    case("fused_conv_residual_no_bias", "FusedConv", [x, w, None, z], activation="Relu", **shape)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    weights = floats("nhwc w", 6, 3, 3, 4)  # [out, height, width, in], as NhwcConv has it
    case("nhwc_conv", "NhwcConv", [last, weights, bias], (F32,), lambda *v: [nhwc_conv(*v)], pads=[1, 1, 1, 1])
    residual = floats("nhwc z", 1, 6, 6, 6)
    case("nhwc_fused_conv", "NhwcFusedConv", [last, Constant(weights.transpose(0, 3, 1, 2)), Constant(bias), residual],
         (F32,), lambda p, q, r, s: [np.maximum(nhwc_conv(p, weights, r) + s, 0)], activation="Relu", pads=[1, 1, 1, 1])


def nhwc_conv(x, w, bias):
    """One of padding on each side, steps of one."""
    padded = np.pad(x.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))  # [n, h, w, c, kh, kw]
    return (np.einsum("nhwcij,oijc->nhwo", windows, w) + bias).astype(F32)


def older_standard_cases():
    x = floats("older", 3, 4)
    case("trilu", "Trilu", [x])
    case("trilu_lower", "Trilu", [x, Constant(np.array(-1, I64))], upper=0)
    case("expand_dims", "ExpandDims", [x, Constant(np.array(1, I32))])
    case("expand_dims_back", "ExpandDims", [x, Constant(np.array(-1, I32))])
    case("unique", "Unique", [np.array([2, 1, 1, 3, 4, 3], F32)], (F32, I64, I64))
    case("pad", "Pad", [x, np.array([1, 0, 0, 2], I64), np.array([7], F32)])
    case("pad_reflect", "Pad", [x, np.array([[1, 1, 0, 2]], I64)], mode="reflect")
    case("pad_edge", "Pad", [x, np.array([1, 1, 0, 2], I64)], mode="edge")
    case("range", "Range", [np.array([2], I64), np.array([9], I64), np.array([3], I64)], (I64,))
    case("range_one", "Range", [np.array(0.5, F32), np.array(3, F32)])


def write_cases():
    activation_cases()
    norm_cases()
    product_cases()
    convolution_cases()
    older_standard_cases()
