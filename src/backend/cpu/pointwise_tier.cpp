// The elementwise functions of one tier. Errors: exp, sigmoid, tanh, erf, gelu within 3e-7 of the largest result in
// their range; those that the C library computes as it does.
#include "backend/cpu/pointwise.h"

#include <math.h>

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

#if defined(__AVX512F__)
inline F32 root(F32 x) { return _mm512_sqrt_ps(x); }
inline F32 down(F32 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline F32 up(F32 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
inline F32 where_zero(F32 x, F32 yes, F32 no) {
  return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_EQ_OQ), yes);
}
#else
inline F32 root(F32 x) { return _mm256_sqrt_ps(x); }
inline F32 down(F32 x) { return _mm256_floor_ps(x); }
inline F32 up(F32 x) { return _mm256_ceil_ps(x); }
inline F32 where_zero(F32 x, F32 yes, F32 no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_EQ_OQ));
}
#endif

inline F32 error_function(F32 x) {
  const F32 far = sub(splat(1.0f), mul(splat(2.0f), half_erfc(x)));
  const F32 s = mul(x, x);
  F32 p = splat(-1.0f / 1320);
  p = fma(p, s, splat(1.0f / 216));
  p = fma(p, s, splat(-1.0f / 42));
  p = fma(p, s, splat(1.0f / 10));
  p = fma(p, s, splat(-1.0f / 3));
  const F32 near = mul(splat(1.12837917f), fma(mul(p, s), x, x));
  return nan_to(x, where_less(abs(x), splat(0.4f), near, far));
}

template <class F>
inline void unary(const PointwiseCall& c, F f) {
  const F32 one = c.a_step ? zero() : splat(*c.a);
  int64_t i = 0;
  for (; i + kWidth <= c.count; i += kWidth) store(c.y + i, f(c.a_step ? load(c.a + i) : one));
  const int rest = int(c.count - i);
  if (rest > 0) store_part(c.y + i, f(c.a_step ? load_part(c.a + i, rest) : one), rest);
}

template <class F>
inline void binary(const PointwiseCall& c, F f) {
  int64_t i = 0;
  if (c.a_step && c.b_step) {
    for (; i + kWidth <= c.count; i += kWidth) store(c.y + i, f(load(c.a + i), load(c.b + i)));
  } else if (c.a_step) {
    const F32 b = splat(*c.b);
    for (; i + kWidth <= c.count; i += kWidth) store(c.y + i, f(load(c.a + i), b));
  } else {
    const F32 a = splat(*c.a);
    for (; i + kWidth <= c.count; i += kWidth) store(c.y + i, f(a, c.b_step ? load(c.b + i) : splat(*c.b)));
  }
  const int rest = int(c.count - i);
  if (rest <= 0) return;
  const F32 a = c.a_step ? load_part(c.a + i, rest) : splat(*c.a);
  const F32 b = c.b_step ? load_part(c.b + i, rest) : splat(*c.b);
  store_part(c.y + i, f(a, b), rest);
}

template <class F>
inline void one_by_one(const PointwiseCall& c, F f) {
  for (int64_t i = 0; i < c.count; ++i) c.y[i] = f(c.a[i * c.a_step], c.b ? c.b[i * c.b_step] : 0.0f);
}

void add_all(const PointwiseCall& c) { binary(c, [](F32 a, F32 b) { return add(a, b); }); }
void sub_all(const PointwiseCall& c) { binary(c, [](F32 a, F32 b) { return sub(a, b); }); }
void mul_all(const PointwiseCall& c) { binary(c, [](F32 a, F32 b) { return mul(a, b); }); }
void div_all(const PointwiseCall& c) { binary(c, [](F32 a, F32 b) { return div(a, b); }); }
void pow_all(const PointwiseCall& c) { one_by_one(c, [](float a, float b) { return powf(a, b); }); }
void min_all(const PointwiseCall& c) { binary(c, [](F32 a, F32 b) { return nan_to(a, min(a, b)); }); }
void max_all(const PointwiseCall& c) { binary(c, [](F32 a, F32 b) { return nan_to(a, max(a, b)); }); }
void prelu_all(const PointwiseCall& c) {
  binary(c, [](F32 a, F32 b) { return where_negative(a, mul(a, b), a); });
}

void abs_all(const PointwiseCall& c) { unary(c, [](F32 x) { return abs(x); }); }
void ceil_all(const PointwiseCall& c) { unary(c, [](F32 x) { return up(x); }); }
void cos_all(const PointwiseCall& c) { one_by_one(c, [](float x, float) { return cosf(x); }); }
void erf_all(const PointwiseCall& c) { unary(c, [](F32 x) { return error_function(x); }); }
void exp_all(const PointwiseCall& c) { unary(c, [](F32 x) { return nan_to(x, exp(x)); }); }
void floor_all(const PointwiseCall& c) { unary(c, [](F32 x) { return down(x); }); }
void hard_swish_all(const PointwiseCall& c) {
  unary(c, [](F32 x) {
    const F32 gate = min(splat(1.0f), max(zero(), fma(x, splat(1.0f / 6), splat(0.5f))));
    return nan_to(x, mul(x, gate));
  });
}
void log_all(const PointwiseCall& c) { one_by_one(c, [](float x, float) { return logf(x); }); }
void mish_all(const PointwiseCall& c) {
  // x tanh(ln(1 + e^x)) = x (w^2 + 2 w) / (w^2 + 2 w + 2) with w = e^x
  unary(c, [](F32 x) {
    const F32 w = exp(min(splat(30.0f), x));
    const F32 n = mul(w, add(w, splat(2.0f)));
    return nan_to(x, mul(x, div(n, add(n, splat(2.0f)))));
  });
}
void neg_all(const PointwiseCall& c) { unary(c, [](F32 x) { return mul(x, splat(-1.0f)); }); }
void reciprocal_all(const PointwiseCall& c) { unary(c, [](F32 x) { return div(splat(1.0f), x); }); }
void relu_all(const PointwiseCall& c) { unary(c, [](F32 x) { return max(zero(), x); }); }
void round_all(const PointwiseCall& c) { unary(c, [](F32 x) { return round(x); }); }
void sigmoid_all(const PointwiseCall& c) { unary(c, [](F32 x) { return nan_to(x, logistic(x)); }); }
void sign_all(const PointwiseCall& c) {
  unary(c, [](F32 x) { return nan_to(x, where_zero(x, zero(), where_negative(x, splat(-1.0f), splat(1.0f)))); });
}
void sin_all(const PointwiseCall& c) { one_by_one(c, [](float x, float) { return sinf(x); }); }
void softplus_all(const PointwiseCall& c) {
  one_by_one(c, [](float x, float) { return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))); });
}
void softsign_all(const PointwiseCall& c) {
  unary(c, [](F32 x) { return div(x, add(splat(1.0f), abs(x))); });
}
void sqrt_all(const PointwiseCall& c) { unary(c, [](F32 x) { return root(x); }); }
void tanh_all(const PointwiseCall& c) { unary(c, [](F32 x) { return hyperbolic_tangent(x); }); }

void clip_all(const PointwiseCall& c) {
  unary(c, [p = splat(c.p), q = splat(c.q)](F32 x) { return min(q, max(p, x)); });
}
void elu_all(const PointwiseCall& c) {
  // e^x - 1 by the library: exp(x) - 1 loses digits near 0.
  one_by_one(c, [alpha = c.p](float x, float) { return x < 0 ? alpha * expm1f(x) : x; });
}
void gelu_all(const PointwiseCall& c) {
  unary(c, [](F32 x) { return nan_to(x, mul(x, half_erfc(mul(x, splat(-0.70710678f))))); });
}
void gelu_tanh_all(const PointwiseCall& c) {
  // x (1 + tanh(u)) / 2 = x logistic(2 u)
  unary(c, [](F32 x) {
    const F32 inner = mul(x, fma(mul(x, x), splat(2 * 0.79788456f * 0.044715f), splat(2 * 0.79788456f)));
    return nan_to(x, mul(x, logistic(inner)));
  });
}
void hard_sigmoid_all(const PointwiseCall& c) {
  unary(c, [p = splat(c.p), q = splat(c.q)](F32 x) {
    return nan_to(x, min(splat(1.0f), max(zero(), add(mul(x, p), q))));
  });
}
void leaky_relu_all(const PointwiseCall& c) {
  unary(c, [p = splat(c.p)](F32 x) { return where_negative(x, mul(x, p), x); });
}
void swish_all(const PointwiseCall& c) {
  unary(c, [p = splat(c.p)](F32 x) { return nan_to(x, mul(x, logistic(mul(x, p)))); });
}
void square_all(const PointwiseCall& c) { unary(c, [](F32 x) { return mul(x, x); }); }

}  // namespace

extern const PointwiseTier kPointwiseTier;
const PointwiseTier kPointwiseTier = {{
    add_all,          sub_all,        mul_all,        div_all,    pow_all,   min_all,     max_all,        prelu_all,
    abs_all,          ceil_all,       cos_all,        erf_all,    exp_all,   floor_all,   hard_swish_all, log_all,
    mish_all,         neg_all,        reciprocal_all, relu_all,   round_all, sigmoid_all, sign_all,       sin_all,
    softplus_all,     softsign_all,   sqrt_all,       tanh_all,   clip_all,  elu_all,     gelu_all,       gelu_tanh_all,
    hard_sigmoid_all, leaky_relu_all, swish_all,      square_all,
}};

}  // namespace lathe::backend::cpu::LATHE_TIER
