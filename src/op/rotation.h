// Rotating pairs of a head's leading elements, for RotaryEmbedding and PagedAttention.
#pragma once

#include <cstdint>

namespace lathe::op {

// Rotates the pairs of head[0, 2 * pairs): (2i, 2i + 1) if interleaved, else (i, i + pairs), by cos[i],
// sin[i]: (a, b) -> (a cos - b sin, b cos + a sin), each computed in double.
template <class T>
void rotate_head(T* head, const T* cos, const T* sin, int64_t pairs, bool interleaved) {
  for (int64_t i = 0; i < pairs; ++i) {
    T& first = head[interleaved ? 2 * i : i];
    T& second = head[interleaved ? 2 * i + 1 : i + pairs];
    const double a = first;
    const double b = second;
    first = T(a * double(cos[i]) - b * double(sin[i]));
    second = T(b * double(cos[i]) + a * double(sin[i]));
  }
}

}  // namespace lathe::op
