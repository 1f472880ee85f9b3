// The gates of recurrent layers of one tier; formulas in op/lstm.cpp and op/gru.cpp.
#include "backend/cpu/recurrent.h"

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

inline F32 sigmoid(F32 x) {
  return nan_to(x, logistic(x));
}

// What enters gate `gate` of `gates`, for the lanes at `lane` of a block.
inline F32 sum_of(const GatesCall& c, int64_t block, int gates, int gate, int lane) {
  const int64_t at = (block * gates + gate) * 16 + lane;
  return add(add(load(c.input + at), load(c.state + at)), load(c.bias + at));
}

// f(block, lane) for each vector.
template <class F>
inline void each(const GatesCall& c, F f) {
  for (int64_t block = 0; block < c.blocks; ++block) {
    for (int lane = 0; lane < 16; lane += kWidth) f(block, lane);
  }
}

void lstm(const GatesCall& c) {
  each(c, [&](int64_t block, int lane) {
    float* cell = c.c + block * 16 + lane;
    const F32 input = sigmoid(sum_of(c, block, 4, 0, lane));
    const F32 output = sigmoid(sum_of(c, block, 4, 1, lane));
    const F32 forget = sigmoid(sum_of(c, block, 4, 2, lane));
    const F32 fresh = hyperbolic_tangent(sum_of(c, block, 4, 3, lane));
    const F32 state = fma(forget, load(cell), mul(input, fresh));
    store(cell, state);
    store(c.next + block * 16 + lane, mul(output, hyperbolic_tangent(state)));
  });
}

// The input's sums have the gates z, r, h; those of the state only z, r.
inline F32 gru_gate(const GatesCall& c, int64_t block, int gate, int lane) {
  const int64_t at = (block * 2 + gate) * 16 + lane;
  return sigmoid(add(add(load(c.input + (block * 3 + gate) * 16 + lane), load(c.state + at)), load(c.bias + at)));
}

void gru_reset(const GatesCall& c) {
  each(c, [&](int64_t block, int lane) {
    const int64_t at = block * 16 + lane;
    store(c.next + at, mul(gru_gate(c, block, 1, lane), load(c.h + at)));
  });
}

void gru(const GatesCall& c) {
  each(c, [&](int64_t block, int lane) {
    const int64_t at = block * 16 + lane;
    const F32 update = gru_gate(c, block, 0, lane);
    F32 state = add(load(c.hidden_state + at), load(c.hidden_state_bias + at));
    if (c.linear_first) state = mul(state, gru_gate(c, block, 1, lane));
    const F32 input = add(load(c.input + (block * 3 + 2) * 16 + lane), load(c.hidden_bias + at));
    const F32 fresh = hyperbolic_tangent(add(input, state));
    store(c.next + at, fma(update, sub(load(c.h + at), fresh), fresh));
  });
}

void rnn(const GatesCall& c) {
  each(c, [&](int64_t block, int lane) {
    store(c.next + block * 16 + lane, hyperbolic_tangent(sum_of(c, block, 1, 0, lane)));
  });
}

}  // namespace

extern const RecurrentTier kRecurrentTier;
const RecurrentTier kRecurrentTier = {lstm, gru_reset, gru, rnn};

}  // namespace lathe::backend::cpu::LATHE_TIER
