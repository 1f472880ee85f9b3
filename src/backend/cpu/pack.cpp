#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "backend/cpu/linear.h"
#include "backend/cpu/linear_layout.h"
#include "backend/cpu/pack_blocks.h"
#include "base/checked.h"
#include "base/numbers.h"
#include "tensor/encoding.h"

namespace lathe::backend::cpu {
namespace {

using tensor::DType;
using tensor::Encoding;

struct LayoutName {
  Layout layout;
  std::string_view name;
  DType dtype;
  Encoding encoding;
};

constexpr std::array<LayoutName, 11> kLayouts = {{
    {Layout::f32_panel, "f32_panel", DType::f32, Encoding::plain},
    {Layout::f16_panel, "f16_panel", DType::f16, Encoding::plain},
    {Layout::bf16_panel, "bf16_panel", DType::bf16, Encoding::plain},
    {Layout::q4_0_panel, "q4_0_panel", DType::f32, Encoding::q4_0},
    {Layout::q4_1_panel, "q4_1_panel", DType::f32, Encoding::q4_1},
    {Layout::q5_0_panel, "q5_0_panel", DType::f32, Encoding::q5_0},
    {Layout::q8_0_panel, "q8_0_panel", DType::f32, Encoding::q8_0},
    {Layout::q4_k_panel, "q4_k_panel_v2", DType::f32, Encoding::q4_k},
    {Layout::q5_k_panel, "q5_k_panel_v2", DType::f32, Encoding::q5_k},
    {Layout::q6_k_panel, "q6_k_panel", DType::f32, Encoding::q6_k},
    {Layout::q5_1_panel, "q5_1_panel", DType::f32, Encoding::q5_1},
}};

const LayoutName& info(Layout layout) {
  const size_t index = size_t(layout) - 1;
  LATHE_CHECK(index < kLayouts.size() && kLayouts[index].layout == layout, "layout {}", int(layout));
  return kLayouts[index];
}

// Bytes of a row as the source stores it.
size_t stored_row_size(Layout layout, int64_t columns) {
  const LayoutName& names = info(layout);
  return names.encoding == Encoding::plain ? tensor::byte_size(names.dtype, columns)
                                           : tensor::row_bytes(names.encoding, columns);
}

// Calls body(first block, blocks, chunk offset in the panel) for each chunk of a panel.
template <class Body>
void for_each_chunk(Layout layout, int64_t columns, Body&& body) {
  const int64_t blocks = columns / kBlockColumns;
  size_t offset = 0;
  for (int64_t block = 0; block < blocks; block += kChunkColumns / kBlockColumns) {
    const int count = int(std::min(blocks - block, kChunkColumns / kBlockColumns));
    body(block, count, offset);
    offset += chunk_offsets(layout, count).size;
  }
}

// Puts row `r` into the planes of a chunk, or takes it out.
struct ChunkRows {
  ChunkRows(Layout layout, int blocks) : offsets(chunk_offsets(layout, blocks)) {
    const BlockPlanes planes = block_planes(layout);
    words = planes.words * blocks;
    halves = planes.halves * blocks + planes.chunk_halves;
    bytes = planes.chunk_bytes;
  }
  void put(const RowChunk& row, std::byte* chunk, int r) const {
    for (int i = 0; i < words; ++i) std::memcpy(chunk + i * 64 + r * 4, &row.words[i], 4);
    for (int i = 0; i < halves; ++i) std::memcpy(chunk + offsets.halves + i * 32 + r * 2, &row.halves[i], 2);
    for (int i = 0; i < bytes; ++i) std::memcpy(chunk + offsets.bytes + i * 16 + r, &row.bytes[i], 1);
  }
  void take(const std::byte* chunk, int r, RowChunk& row) const {
    for (int i = 0; i < words; ++i) std::memcpy(&row.words[i], chunk + i * 64 + r * 4, 4);
    for (int i = 0; i < halves; ++i) std::memcpy(&row.halves[i], chunk + offsets.halves + i * 32 + r * 2, 2);
    for (int i = 0; i < bytes; ++i) std::memcpy(&row.bytes[i], chunk + offsets.bytes + i * 16 + r, 1);
  }
  ChunkOffsets offsets;
  int words, halves, bytes;
};

void pack_blocks(Layout layout, int64_t columns, const std::byte* rows, size_t row_size, int count,
                 std::byte* out) {
  size_t stored = 0;
  for_each_chunk(layout, columns, [&](int64_t, int blocks, size_t offset) {
    const ChunkRows chunk(layout, blocks);
    if (count < kPanelRows) std::memset(out + offset, 0, chunk.offsets.size);
    const size_t used = chunk.offsets.bytes + size_t(chunk.bytes) * 16;
    std::memset(out + offset + used, 0, chunk.offsets.size - used);
    RowChunk row;
    for (int r = 0; r < count; ++r) {
      split_row(layout, rows + size_t(r) * row_size + stored, blocks, row);
      chunk.put(row, out + offset, r);
    }
    stored += stored_chunk_size(layout, blocks);
  });
}

// [row][column] to [column / Group][row][Group]: 16 columns of all rows at a time, so that what is written
// stays in the nearest cache while the 16 rows are walked.
template <class T, int Group>
void pack_plain(int64_t columns, const std::byte* rows, size_t row_size, int count, std::byte* out) {
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < columns; first += kTile) {
    const int64_t end = std::min(columns, first + kTile);
    std::byte* tile = out + size_t(first) * size_t(kPanelRows) * sizeof(T);
    if (count < kPanelRows) std::memset(tile, 0, size_t(end - first) * size_t(kPanelRows) * sizeof(T));
    for (int r = 0; r < count; ++r) {
      const std::byte* source = rows + size_t(r) * row_size + size_t(first) * sizeof(T);
      for (int64_t c = 0; c < end - first; c += Group) {
        std::memcpy(tile + size_t(c * kPanelRows + r * Group) * sizeof(T), source + size_t(c) * sizeof(T),
                    Group * sizeof(T));
      }
    }
  }
  const size_t used = size_t(columns) * size_t(kPanelRows) * sizeof(T);
  std::memset(out + used, 0, (64 - used % 64) % 64);
}

void pack_panel(Layout layout, int64_t columns, const std::byte* rows, size_t row_size, int count,
                std::byte* out) {
  switch (layout) {
    case Layout::f32_panel:
      return pack_plain<uint32_t, 1>(columns, rows, row_size, count, out);
    case Layout::f16_panel:
      return pack_plain<uint16_t, 1>(columns, rows, row_size, count, out);
    case Layout::bf16_panel:
      return pack_plain<uint16_t, 2>(columns, rows, row_size, count, out);
    default:
      return pack_blocks(layout, columns, rows, row_size, count, out);
  }
}

// One row of a panel, as the source stored it.
void unpack_row(Layout layout, const std::byte* panel, int64_t columns, int r, std::byte* out) {
  if (is_block_layout(layout)) {
    for_each_chunk(layout, columns, [&](int64_t, int blocks, size_t offset) {
      RowChunk row;
      ChunkRows(layout, blocks).take(panel + offset, r, row);
      join_row(layout, row, blocks, out);
      out += stored_chunk_size(layout, blocks);
    });
    return;
  }
  const size_t size = layout == Layout::f32_panel ? 4 : 2;
  const int64_t group = layout == Layout::bf16_panel ? 2 : 1;
  for (int64_t c = 0; c < columns; c += group) {
    std::memcpy(out + size_t(c) * size, panel + size_t(c * kPanelRows + r * group) * size,
                size_t(group) * size);
  }
}

void check_columns(Layout layout, int64_t columns) {
  const int64_t multiple = column_multiple(layout);
  if (columns <= 0 || columns % multiple != 0) {
    fail(ErrorCode::unsupported, "{} needs a positive multiple of {} columns, found {}", to_string(layout),
         multiple, columns);
  }
  // A row of 2^40 columns is no matrix; below it, sizes of a panel cannot overflow.
  if (columns > int64_t{1} << 40) fail(ErrorCode::unsupported, "{} columns are too many", columns);
}

}  // namespace

std::string_view to_string(Layout layout) {
  return info(layout).name;
}
tensor::DType stored_dtype(Layout layout) {
  return info(layout).dtype;
}
tensor::Encoding stored_encoding(Layout layout) {
  return info(layout).encoding;
}

std::optional<Layout> layout_for(tensor::DType dtype, tensor::Encoding encoding) {
  for (const LayoutName& names : kLayouts) {
    // The dtype of an encoded constant is what it stands for, not how it is stored.
    if (names.encoding == encoding && (encoding != Encoding::plain || names.dtype == dtype))
      return names.layout;
  }
  return std::nullopt;
}

size_t panel_size(Layout layout, int64_t columns) {
  check_columns(layout, columns);
  return panel_bytes(layout, columns);
}

size_t packed_size(Layout layout, int64_t rows, int64_t columns) {
  if (rows <= 0) fail(ErrorCode::unsupported, "a matrix of {} rows cannot be packed", rows);
  const int64_t panels = rows / kPanelRows + (rows % kPanelRows != 0);  // rows + 15 could overflow
  return checked_mul(size_t(panels), panel_size(layout, columns), "packed matrix");
}

void pack_panels(Layout layout, const tensor::Source& source, int64_t first, int64_t count,
                 std::span<std::byte> out) {
  const int64_t columns = source.row_elements();
  const int64_t rows = source.rows();
  const size_t size = panel_size(layout, columns);
  LATHE_CHECK(source.encoding() == stored_encoding(layout) &&
                  (source.encoding() != Encoding::plain || source.dtype() == stored_dtype(layout)),
              "{} does not hold {} {}", to_string(layout), to_string(source.dtype()),
              to_string(source.encoding()));
  LATHE_CHECK(first >= 0 && count >= 0 && first + count <= ceil_div(rows, kPanelRows) &&
                  out.size() == size_t(count) * size,
              "panels {} + {} of {} rows, {} bytes of {}", first, count, rows, out.size(),
              size_t(count) * size);
  const size_t row_size = source.row_size();
  const auto mapped = source.contiguous();
  std::unique_ptr<std::byte[]> buffer;
  if (!mapped) buffer = std::make_unique_for_overwrite<std::byte[]>(size_t(kPanelRows) * row_size);
  for (int64_t panel = first; panel < first + count; ++panel) {
    const int64_t row = panel * kPanelRows;
    const int present = int(std::min(kPanelRows, rows - row));
    const std::byte* stored = nullptr;
    if (mapped) {
      stored = mapped->data() + size_t(row) * row_size;
    } else {
      source.read_rows(row, present, std::span(buffer.get(), size_t(present) * row_size));
      stored = buffer.get();
    }
    pack_panel(layout, columns, stored, row_size, present, out.data() + size_t(panel - first) * size);
  }
}

void unpack_rows(Layout layout, std::span<const std::byte> packed, int64_t rows, int64_t columns,
                 int64_t first, int64_t count, std::span<std::byte> out) {
  const size_t size = panel_size(layout, columns);
  const size_t row_size = stored_row_size(layout, columns);
  LATHE_CHECK(packed.size() == packed_size(layout, rows, columns), "{} bytes", packed.size());
  LATHE_CHECK(first >= 0 && count >= 0 && first + count <= rows && out.size() == size_t(count) * row_size,
              "rows {} + {} of {}, {} bytes", first, count, rows, out.size());
  for (int64_t row = first; row < first + count; ++row) {
    unpack_row(layout, packed.data() + size_t(row / kPanelRows) * size, columns, int(row % kPanelRows),
               out.data() + size_t(row - first) * row_size);
  }
}

void unpack_row_f32(Layout layout, const std::byte* packed, int64_t columns, int64_t row,
                    float* out) noexcept {
  const std::byte* panel = packed + size_t(row / kPanelRows) * panel_bytes(layout, columns);
  const int r = int(row % kPanelRows);
  if (is_block_layout(layout)) {
    const tensor::BlockFormat& format = tensor::block_format(stored_encoding(layout));
    for_each_chunk(layout, columns, [&](int64_t block, int blocks, size_t offset) {
      RowChunk chunk;
      std::byte stored[8 * 34];
      ChunkRows(layout, blocks).take(panel + offset, r, chunk);
      join_row(layout, chunk, blocks, stored);
      format.dequantise(stored, blocks * kBlockColumns / format.elements, out + block * kBlockColumns);
    });
    return;
  }
  if (layout == Layout::f32_panel)
    return unpack_row(layout, panel, columns, r, reinterpret_cast<std::byte*>(out));
  const int64_t group = layout == Layout::bf16_panel ? 2 : 1;
  for (int64_t c = 0; c < columns; ++c) {
    uint16_t bits;
    std::memcpy(&bits, panel + size_t((c - c % group) * kPanelRows + r * group + c % group) * 2, 2);
    out[c] = layout == Layout::f16_panel ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
}

}  // namespace lathe::backend::cpu
