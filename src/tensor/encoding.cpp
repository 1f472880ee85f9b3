#include "tensor/encoding.h"

#include <array>

#include "base/checked.h"
#include "tensor/block_formats.h"

namespace lathe::tensor {
namespace {

template <blocks::DecodeBlock kDecode, int kBytes, int kElements>
void decode(const std::byte* source, int64_t count, float* out) noexcept {
  const auto* in = reinterpret_cast<const uint8_t*>(source);
  for (int64_t i = 0; i < count; ++i) kDecode(in + i * kBytes, out + i * kElements);
}

template <blocks::DecodeBlock kDecode, int kElements, int kBytes>
constexpr BlockFormat format(Encoding encoding, std::string_view name) {
  return {encoding, name, kElements, kBytes, &decode<kDecode, kBytes, kElements>};
}

// Indexed by the enum's value less 1.
constexpr std::array<BlockFormat, 27> kFormats = {{
    format<blocks::q4_0, 32, 18>(Encoding::q4_0, "q4_0"),
    format<blocks::q4_1, 32, 20>(Encoding::q4_1, "q4_1"),
    format<blocks::q5_0, 32, 22>(Encoding::q5_0, "q5_0"),
    format<blocks::q5_1, 32, 24>(Encoding::q5_1, "q5_1"),
    format<blocks::q8_0, 32, 34>(Encoding::q8_0, "q8_0"),
    format<blocks::q8_1, 32, 36>(Encoding::q8_1, "q8_1"),
    format<blocks::q2_k, 256, 84>(Encoding::q2_k, "q2_k"),
    format<blocks::q3_k, 256, 110>(Encoding::q3_k, "q3_k"),
    format<blocks::q4_k, 256, 144>(Encoding::q4_k, "q4_k"),
    format<blocks::q5_k, 256, 176>(Encoding::q5_k, "q5_k"),
    format<blocks::q6_k, 256, 210>(Encoding::q6_k, "q6_k"),
    format<blocks::q8_k, 256, 292>(Encoding::q8_k, "q8_k"),
    format<blocks::iq2_xxs, 256, 66>(Encoding::iq2_xxs, "iq2_xxs"),
    format<blocks::iq2_xs, 256, 74>(Encoding::iq2_xs, "iq2_xs"),
    format<blocks::iq3_xxs, 256, 98>(Encoding::iq3_xxs, "iq3_xxs"),
    format<blocks::iq1_s, 256, 50>(Encoding::iq1_s, "iq1_s"),
    format<blocks::iq4_nl, 32, 18>(Encoding::iq4_nl, "iq4_nl"),
    format<blocks::iq3_s, 256, 110>(Encoding::iq3_s, "iq3_s"),
    format<blocks::iq2_s, 256, 82>(Encoding::iq2_s, "iq2_s"),
    format<blocks::iq4_xs, 256, 136>(Encoding::iq4_xs, "iq4_xs"),
    format<blocks::iq1_m, 256, 56>(Encoding::iq1_m, "iq1_m"),
    format<blocks::tq1_0, 256, 54>(Encoding::tq1_0, "tq1_0"),
    format<blocks::tq2_0, 256, 66>(Encoding::tq2_0, "tq2_0"),
    format<blocks::mxfp4, 32, 17>(Encoding::mxfp4, "mxfp4"),
    format<blocks::nvfp4, 64, 36>(Encoding::nvfp4, "nvfp4"),
    format<blocks::q1_0, 128, 18>(Encoding::q1_0, "q1_0"),
    format<blocks::q2_0, 64, 18>(Encoding::q2_0, "q2_0"),
}};

constexpr bool in_order() {
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (size_t(kFormats[i].encoding) != i + 1) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

const BlockFormat& block_format(Encoding encoding) {
  const size_t index = size_t(encoding) - 1;
  LATHE_CHECK(index < kFormats.size(), "encoding {}", int(encoding));
  return kFormats[index];
}

std::string_view to_string(Encoding encoding) {
  return encoding == Encoding::plain ? "plain" : block_format(encoding).name;
}

std::optional<Encoding> find_encoding(std::string_view name) {
  if (name == "plain") return Encoding::plain;
  for (const BlockFormat& format : kFormats) {
    if (format.name == name) return format.encoding;
  }
  return std::nullopt;
}

size_t row_bytes(Encoding encoding, int64_t elements) {
  const BlockFormat& format = block_format(encoding);
  if (elements < 0 || elements % format.elements != 0) {
    fail(ErrorCode::invalid_input, "a row of {} elements does not fill whole {} blocks of {}", elements,
         format.name, format.elements);
  }
  return checked_mul(size_t(elements / format.elements), size_t(format.bytes), "row bytes");
}

}  // namespace lathe::tensor
