// How the elements of a constant are stored: plain, or one of GGUF's block formats.
//
// Quantised storage is not a dtype. A tensor of logical dtype f32 may be stored in blocks along its last
// dimension; `dequantise` gives the exact values that the format defines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace lathe::tensor {

// Values are stable: stored in engine files.
enum class Encoding : uint8_t {
  plain = 0,
  q4_0 = 1,
  q4_1 = 2,
  q5_0 = 3,
  q5_1 = 4,
  q8_0 = 5,
  q8_1 = 6,
  q2_k = 7,
  q3_k = 8,
  q4_k = 9,
  q5_k = 10,
  q6_k = 11,
  q8_k = 12,
  iq2_xxs = 13,
  iq2_xs = 14,
  iq3_xxs = 15,
  iq1_s = 16,
  iq4_nl = 17,
  iq3_s = 18,
  iq2_s = 19,
  iq4_xs = 20,
  iq1_m = 21,
  tq1_0 = 22,
  tq2_0 = 23,
  mxfp4 = 24,
  nvfp4 = 25,
  q1_0 = 26,
  q2_0 = 27,
};

// One block format: `elements` consecutive values of a row in `bytes` bytes.
struct BlockFormat {
  Encoding encoding;
  std::string_view name;  // "q4_k", as in graph text and messages
  int elements;
  int bytes;
  // Decodes `blocks` blocks at `source` (unaligned) into blocks * elements floats. Null when no published
  // definition is implemented; then the format can be listed but not read.
  void (*dequantise)(const std::byte* source, int64_t blocks, float* out) noexcept;
};

// `encoding` must not be plain.
const BlockFormat& block_format(Encoding encoding);
std::string_view to_string(Encoding encoding);  // "plain", "q4_k"
std::optional<Encoding> find_encoding(std::string_view name);
// The same for base/fields.h; false: no such name.
inline bool from_string(std::string_view text, Encoding& encoding) {
  const auto found = find_encoding(text);
  if (found) encoding = *found;
  return found.has_value();
}

// Bytes of a row of `elements` values. Throws invalid_input when they do not fill whole blocks.
size_t row_bytes(Encoding encoding, int64_t elements);

}  // namespace lathe::tensor
