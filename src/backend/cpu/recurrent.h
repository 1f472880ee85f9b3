// The gates of recurrent layers over blocks of 16 hidden units.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

// Sums of a block lie as [gates][16], blocks one after another; `bias` likewise. noexcept, no allocation.
struct GatesCall {
  const float* input;   // X W^T of one row
  const float* state;   // H R^T
  const float* bias;    // both biases; for GRU of gates z, r only
  int64_t blocks;
  const float* h;       // [blocks][16], before the step
  float* c;             // LSTM: in and out
  float* next;          // [blocks][16]: H after it; may not be h
  // GRU: sums and biases of the hidden gate, [blocks][16] each.
  const float* hidden_state;
  const float* hidden_bias;        // of the input, and of the state where that is not multiplied by r
  const float* hidden_state_bias;  // added to hidden_state before r multiplies it
  bool linear_first;               // r multiplies hidden_state; else it has multiplied h already
};

struct RecurrentTier {
  void (*lstm)(const GatesCall&);
  // next = r h, what the product of the hidden gate reads where r comes first.
  void (*gru_reset)(const GatesCall&);
  void (*gru)(const GatesCall&);
  void (*rnn)(const GatesCall&);  // tanh
};

namespace avx2 {
extern const RecurrentTier kRecurrentTier;
}
namespace avx512 {
extern const RecurrentTier kRecurrentTier;
}

}  // namespace lathe::backend::cpu
