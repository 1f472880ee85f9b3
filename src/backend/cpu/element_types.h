// Moving elements of any type: by their size alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lathe::backend::cpu {

struct WideElement {
  uint64_t low, high;
};

// f(T{}) with T of that many bytes: 1, 2, 4, 8 or 16.
template <class F>
void with_element(size_t bytes, F f) {
  switch (bytes) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
    default:
      return f(WideElement{});
  }
}

}  // namespace lathe::backend::cpu
