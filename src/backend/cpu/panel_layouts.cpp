#include "backend/cpu/panel_layouts.h"

#include <array>
#include <vector>

#include "backend/cpu/layout_names.h"
#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

class PanelLayout final : public PackedLayout {
 public:
  explicit PanelLayout(Layout layout)
      : PackedLayout(to_string(layout), kPanelRows, stored_dtype(layout), stored_encoding(layout)), layout_(layout) {}

  size_t size(int64_t rows, int64_t columns) const override { return packed_size(layout_, rows, columns); }
  size_t unit_size(int64_t columns) const override { return panel_size(layout_, columns); }
  void pack(const tensor::Source& source, int64_t first, int64_t count, std::span<std::byte> out) const override {
    pack_panels(layout_, source, first, count, out);
  }
  void unpack(std::span<const std::byte> packed, int64_t rows, int64_t columns, int64_t first, int64_t count,
              std::span<std::byte> out) const override {
    unpack_rows(layout_, packed, rows, columns, first, count, out);
  }
  void unpack_row(std::span<const std::byte> packed, int64_t columns, int64_t row,
                  std::span<float> out) const override {
    LATHE_CHECK(int64_t(out.size()) == columns && packed.size() >= packed_size(layout_, row + 1, columns),
                "row {} of {} columns in {} bytes", row, columns, packed.size());
    unpack_row_f32(layout_, packed.data(), columns, row, out.data());
  }

 private:
  Layout layout_;
};

}  // namespace

std::span<const PackedLayout* const> panel_layouts() {
  static const std::vector<PanelLayout> kLayouts(kAllLayouts.begin(), kAllLayouts.end());
  static const auto kPointers = [] {
    std::array<const PackedLayout*, kAllLayouts.size()> pointers;
    for (size_t i = 0; i < pointers.size(); ++i) pointers[i] = &kLayouts[i];
    return pointers;
  }();
  return kPointers;
}

}  // namespace lathe::backend::cpu
