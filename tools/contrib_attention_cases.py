"""Cases of make_contrib_goldens.py: attentions and rotary embedding."""
import numpy as np
from make_contrib_goldens import Constant, case, rng_of

F32, F16, U8, I8, I32, I64 = np.float32, np.float16, np.uint8, np.int8, np.int32, np.int64


def floats(name, *shape, dtype=F32):
    return rng_of(name).standard_normal(shape).astype(dtype)


def rope(rows, pairs, dtype=F32):
    """cos and sin of position times frequency."""
    angles = np.arange(rows)[:, None] * 1000.0 ** (-np.arange(pairs) / pairs)
    return Constant(np.cos(angles).astype(dtype)), Constant(np.sin(angles).astype(dtype))


def attend(query, key, value, seen=None):
    """[batch, seq, heads, dim] each, to [batch, seq, heads * dim]."""
    scores = np.einsum("bqhd,bkhd->bhqk", query.astype(float), key) / np.sqrt(query.shape[-1])
    if seen is not None:
        scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    result = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), value)
    return result.reshape(*query.shape[:2], -1).astype(query.dtype)


def rotary_cases():
    op = "RotaryEmbedding"
    flat, heads = floats("rotary", 2, 3, 16), floats("rotary 4", 2, 2, 3, 8)
    table = np.array([[0, 1, 2], [4, 5, 6]], I64)
    case("rotary_embedding", op, [flat, table, *rope(8, 4)],
         dims={0: ["batch", "sequence", 16], 1: ["batch", "sequence"]})
    case("rotary_embedding_interleaved", op, [flat, table, *rope(8, 4)], interleaved=1)
    case("rotary_embedding_offset", op, [flat, np.array([3], I64), *rope(8, 4)],
         dims={0: ["batch", "sequence", 16]})
    case("rotary_embedding_heads", op, [heads, table, *rope(8, 4)], dims={0: ["batch", 2, "sequence", 8]})
    case("rotary_embedding_heads_offset", op, [heads, np.array([2], I64), *rope(8, 4)], interleaved=1)
    case("rotary_embedding_part", op, [flat, table, *rope(8, 2)], num_heads=2, rotary_embedding_dim=4)
    case("rotary_embedding_part_heads", op, [heads, table, *rope(8, 2)], num_heads=2, rotary_embedding_dim=4,
         interleaved=1)
    case("rotary_embedding_f16", op, [flat.astype(F16), table, *rope(8, 4, F16)], (F16,))


def multi_head_cases():
    op = "MultiHeadAttention"
    query, key, value = floats("mq", 2, 3, 8), floats("mk", 2, 5, 8), floats("mv", 2, 5, 12)
    own_key, own_value = floats("mk3", 2, 3, 8), floats("mv3", 2, 3, 8)
    bias = Constant(floats("mbias", 28))
    scores = floats("mscores", 1, 2, 3, 5)
    past_key, past_value = floats("mpk", 2, 2, 4, 4), floats("mpv", 2, 2, 4, 4)
    names = {0: ["batch", "sequence", 8], 1: ["batch", "keys", 8], 2: ["batch", "keys", 12]}

    def mha(name, inputs, outputs=(F32,), **attributes):
        case(f"multi_head_attention_{name}", op, inputs, outputs, num_heads=2, **attributes)

    mha("cross", [query, key, value], dims=names)
    mha("bias", [query, key, value, bias], dims=names, scale=0.4)
    mha("packed", [floats("mpacked", 2, 3, 2, 3, 4)], formula=lambda x: [attend(*np.moveaxis(x, 3, 0))],
        dims={0: ["batch", "sequence", 2, 3, 4]})
    mha("packed_key_value", [query, floats("mpackedkv", 2, 5, 2, 2, 4)],
        formula=lambda q, kv: [attend(q.reshape(2, 3, 2, 4), *np.moveaxis(kv, 3, 0))])
    mha("packed_bias", [floats("mpacked", 2, 3, 2, 3, 4), None, None, Constant(floats("mbias24", 24))],
        formula=lambda x, _, __, b: [attend(*np.moveaxis(x + b.reshape(3, 2, 4).swapaxes(0, 1), 3, 0))])
    mha("score_bias", [query, key, value, None, None, scores], dims={5: [1, 2, "sequence", "keys"]})
    mha("causal", [query, own_key, own_value], unidirectional=1)
    mha("lengths", [query, key, value, None, np.array([5, 2], I32)], dims={**names, 4: ["batch"]})
    mask = np.array([[1, 1, 1, 0, 1], [0, 1, 1, 1, 0]], I32)
    mha("mask", [query, key, value, bias, mask, scores])
    mha("mask_filter", [query, key, value, None, mask], mask_filter_value=-1.5)
    mask3 = rng_of("mask3").integers(0, 2, (2, 3, 5), I32)
    mask3[:, :, 0] = 1
    mha("mask_of_queries", [query, key, value, None, mask3])
    mha("present", [query, key, value], (F32, F32, F32))
    mha("past", [query, own_key, own_value, None, None, None, past_key, past_value], (F32, F32, F32),
        dims={6: ["batch", 2, "past", 4], 7: ["batch", 2, "past", 4]})
    mask7 = np.array([[1, 1, 0, 1, 1, 1, 1], [0, 1, 1, 1, 0, 1, 1]], I32)
    mha("past_causal", [query, own_key, own_value, Constant(floats("mbias24", 24)), mask7, None, past_key, past_value],
        (F32, F32, F32), unidirectional=1)
    mha("from_cache", [query, past_key, past_value])
    mha("from_cache_bias", [query, past_key, past_value, Constant(floats("mbias24", 24))])


def attention_cases():
    x, w, bias = floats("ax", 2, 3, 6), Constant(floats("aw", 6, 24)), Constant(floats("abias", 24))
    names = {0: ["batch", "sequence", 6]}
    past = floats("apast", 2, 2, 2, 4, 4)

    def attention(name, inputs, outputs=(F32,), **attributes):
        case(f"attention_{name}", "Attention", inputs, outputs, num_heads=2, **attributes)

    attention("plain", [x, w, bias], dims=names)  # without a bias ONNX Runtime 1.31 ends with a segmentation fault
    attention("scale", [x, w, bias], (F32, F32), scale=0.3)
    attention("causal", [x, w, bias], unidirectional=1)
    attention("lengths", [x, w, bias, np.array([3, 1], I32)], dims={**names, 3: ["batch"]})
    attention("ends_and_starts", [x, w, bias, np.array([3, 2, 1, 0], I32)], dims={**names, 3: ["2*batch"]})
    attention("ends_and_starts_fixed", [x, w, bias, np.array([3, 3, 1, 0], I32)])
    attention("mask", [x, w, bias, np.array([[1, 1, 0], [0, 1, 1]], I32)], dims={**names, 3: ["batch", "sequence"]})
    attention("mask_filter", [x, w, bias, np.array([[1, 1, 0], [0, 1, 1]], I32)], mask_filter_value=-2.0)
    attention("mask_of_queries", [x, w, bias, np.array([[[1, 0, 0], [1, 1, 0], [0, 1, 1]]] * 2, I32)])
    attention("score_bias", [x, w, bias, None, None, floats("ascores", 2, 1, 3, 3)])
    attention("past", [x, w, bias, None, past], (F32, F32), unidirectional=1,
              dims={**names, 4: [2, "batch", 2, "past", 4]})
    mask7 = np.array([[1, 1, 0, 1, 1, 1, 1], [0, 1, 1, 1, 0, 1, 1]], I32)
    attention("past_mask", [x, w, bias, mask7, past], (F32, F32), unidirectional=1,
              dims={**names, 3: ["batch", "total"], 4: [2, "batch", 2, "past", 4]})
    attention("past_lengths", [x, w, bias, np.array([7, 5], I32), past], (F32, F32))
    attention("sizes", [x, Constant(floats("aw28", 6, 28)), Constant(floats("abias28", 28))],
              qkv_hidden_sizes=[8, 8, 12])
    quantised_cases(names, past)


def quantised_cases(names, past):
    x = rng_of("qax").integers(0, 256, (2, 3, 6), U8)
    w = Constant(rng_of("qaw").integers(-128, 128, (6, 24), I8))
    bias, sx, sw = Constant(floats("abias", 24)), Constant(np.array(0.012, F32)), Constant(np.array(0.011, F32))
    columns = Constant((0.005 + np.abs(floats("qa columns", 24)) / 50).astype(F32))
    zx, zw = Constant(np.array(130, U8)), Constant(np.array(3, I8))
    zws = Constant(rng_of("qa zeros").integers(-5, 5, 24, I8))
    op = "QAttention"
    case("q_attention", op, [x, w, bias, sx, sw, None, zx, zw], num_heads=2, dims=names)
    case("q_attention_columns", op, [x, w, bias, sx, columns, np.array([3, 2], I32), zx, zws], num_heads=2)
    case("q_attention_past", op, [x, w, bias, sx, sw, None, zx, zw, past], (F32, F32), num_heads=2, unidirectional=1)


def group_query(name, batch, sequence, past, lengths, *, heads=2, kv_heads=1, dim=16, packed=False, rotary=0,
                positions=None,
                bias=None, sink=False, norms=False, dtype=F32, total=None, capacity=None, outputs=3, dims=None,
                formula=None, **attributes):
    """`past` rows of a cache (None: no cache) of `capacity` rows; `lengths` of each row, new tokens included."""
    q, k, v = (floats(f"{name} {part}", batch, sequence, count * dim, dtype=dtype)
               for part, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)))
    first = [np.concatenate([q, k, v], 2), None, None] if packed else [q, k, v]
    cache = [None, None]
    if past is not None:
        cache = [floats(f"{name} past {part}", batch, kv_heads, capacity or past, dim, dtype=dtype) for part in "kv"]
    total = total or (past or 0) + sequence
    inputs = [*first, *cache, np.array(lengths, I32) - I32(1), np.array(total, I32)]
    inputs += rope(16, rotary, dtype) if rotary else [None, None]
    inputs += [None if positions is None else np.array(positions, I64), bias]
    inputs += [floats(name + " sink", heads, dtype=dtype) if sink else None]
    if norms:
        inputs += [None, None, Constant(floats("qn", dim)), Constant(floats("kn", dim))]
    case(f"group_query_attention_{name}", "GroupQueryAttention", inputs, (dtype,) * outputs, formula, dims=dims,
         num_heads=heads, kv_num_heads=kv_heads, do_rotary=int(rotary > 0), **attributes)


def normed_formula(q, k, v, *rest):
    """Heads normed, then turned, of one row without a past (CUDA's and WebGPU's kernels only do this)."""
    cos, sin = rest[4], rest[5]

    def turned(x, weight, heads):
        x = x.astype(float).reshape(1, 3, heads, 16)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight
        left, right, c, s = x[..., :8], x[..., 8:], cos[:3, None], sin[:3, None]
        return np.concatenate([left * c - right * s, left * s + right * c], -1).astype(q.dtype)

    key, value = (np.repeat(x, 2, 2) for x in (turned(k, rest[-1], 1), v.reshape(1, 3, 1, 16)))
    return [attend(turned(q, rest[-2], 2), key, value, np.tri(3, dtype=bool))]


def group_query_cases():
    names = {0: ["batch", "sequence", 32], 1: ["batch", "sequence", 16], 2: ["batch", "sequence", 16]}
    cache = {3: ["batch", 1, "past", 16], 4: ["batch", 1, "past", 16]}
    group_query("prompt", 2, 3, None, [3, 3], dims=names)
    group_query("prompt_padded", 2, 4, None, [4, 4], rotary=8, dims=names)
    group_query("prompt_positions", 1, 3, None, [3], rotary=8, positions=[[2, 3, 4]])
    group_query("packed", 2, 3, None, [3, 3], packed=True, rotary=8, rotary_interleaved=1)
    group_query("prompt_with_cache", 2, 3, 0, [3, 3], rotary=8, dims={**names, **cache})
    group_query("prompt_in_place", 2, 3, 0, [3, 3], capacity=6, total=3, rotary=8, dims={**names, **cache})
    group_query("step", 1, 1, 5, [6], rotary=8)
    group_query("step_batch", 2, 1, 5, [6, 6], rotary=8, dims={**names, **cache})
    group_query("step_uneven", 3, 1, 5, [6, 4, 2], rotary=8, dims={**names, **cache})
    group_query("step_in_place", 2, 1, 5, [6, 4], capacity=8, rotary=8, dims={**names, **cache})
    group_query("step_positions", 2, 1, 5, [6, 4], rotary=8, positions=[[5], [9]])
    group_query("several", 1, 3, 5, [8], rotary=8)
    group_query("several_symbolic", 1, 3, 5, [8], rotary=8, dims={**names, **cache})
    group_query("four_heads", 1, 3, 2, [5], heads=4, kv_heads=2, dim=8)
    group_query("window", 1, 6, None, [6], local_window_size=2)
    group_query("window_step", 1, 1, 5, [6], local_window_size=3)
    group_query("window_uneven", 2, 1, 5, [6, 4], local_window_size=3, dims={**names, **cache})
    group_query("packed_uneven", 2, 1, 5, [6, 4], packed=True, rotary=8, dims={0: ["batch", "sequence", 64], **cache})
    group_query("step_positions_several", 1, 3, 5, [8], rotary=8, positions=[[1, 9, 3]])
    group_query("softcap", 2, 3, None, [3, 3], softcap=0.8, scale=0.5)
    group_query("softcap_uneven", 2, 1, 5, [6, 4], softcap=0.8)
    group_query("smooth", 2, 3, None, [3, 3], smooth_softmax=1)
    group_query("smooth_uneven", 2, 1, 5, [6, 4], smooth_softmax=1, dims={**names, **cache})
    group_query("sink", 2, 1, 5, [6, 4], sink=True)
    group_query("sink_prompt", 1, 4, None, [4], sink=True, local_window_size=2)
    group_query("score_bias", 1, 3, None, [3], bias=floats("gbias", 1, 2, 3, 3))
    group_query("score_bias_uneven", 2, 1, 5, [6, 4], bias=floats("gbias6", 2, 1, 1, 6))
    group_query("not_causal", 2, 3, None, [3, 3], causal=0)
    group_query("f16", 1, 3, 5, [8], rotary=8, dtype=F16)
    group_query("norms", 1, 3, None, [3], norms=True, rotary=8, formula=normed_formula, outputs=1)
    group_query("part_rotary", 1, 3, None, [3], rotary=8, dim=32)


def write_cases():
    rotary_cases()
    multi_head_cases()
    attention_cases()
    group_query_cases()
