#include "backend/cpu/pack_blocks.h"

#include <cstring>

#include "backend/cpu/linear_layout.h"
#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

constexpr uint32_t kLow4 = 0x0f0f0f0f, kLow2 = 0x03030303, kLow1 = 0x01010101;

uint32_t load32(const std::byte* p) {
  uint32_t value;
  std::memcpy(&value, p, 4);
  return value;
}
void store32(std::byte* p, uint32_t value) {
  std::memcpy(p, &value, 4);
}
uint16_t load16(const std::byte* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
void store16(std::byte* p, uint16_t value) {
  std::memcpy(p, &value, 2);
}

// Exchanges the bits under `mask` with those `shift` above them.
constexpr uint32_t swap_bits(uint32_t x, uint32_t mask, int shift) {
  const uint32_t different = (x ^ (x >> shift)) & mask;
  return x ^ different ^ (different << shift);
}
// Even bits to the lower half, odd bits to the upper half; and back.
constexpr uint32_t unzip_bits(uint32_t x) {
  x = swap_bits(x, 0x22222222, 1);
  x = swap_bits(x, 0x0c0c0c0c, 2);
  x = swap_bits(x, 0x00f000f0, 4);
  return swap_bits(x, 0x0000ff00, 8);
}
constexpr uint32_t zip_bits(uint32_t x) {
  x = swap_bits(x, 0x0000ff00, 8);
  x = swap_bits(x, 0x00f000f0, 4);
  x = swap_bits(x, 0x0c0c0c0c, 2);
  return swap_bits(x, 0x22222222, 1);
}
// q5_0 keeps the fifth bit of column 4j + i at bit 4j + i; the plane wants bit j of byte i, position 8i + j.
// That is the bit number rotated by two places, and unzip rotates it by one.
constexpr uint32_t fifth_bits_to_plane(uint32_t x) {
  return unzip_bits(unzip_bits(x));
}
constexpr uint32_t fifth_bits_from_plane(uint32_t x) {
  return zip_bits(zip_bits(x));
}
static_assert(fifth_bits_to_plane(1u << (4 * 5 + 2)) == 1u << (8 * 2 + 5));
static_assert(fifth_bits_from_plane(fifth_bits_to_plane(0x12345678)) == 0x12345678);

// The formats with 32 columns in a block: {d; [m]; [qh]; codes}.
struct SmallBlock {
  int size;
  bool has_min, has_fifth;
  int code_words;
};
SmallBlock small_block(Layout layout) {
  switch (layout) {
    case Layout::q4_0_panel:
      return {18, false, false, 4};
    case Layout::q4_1_panel:
      return {20, true, false, 4};
    case Layout::q5_0_panel:
      return {22, false, true, 4};
    case Layout::q5_1_panel:
      return {24, true, true, 4};
    default:
      return {34, false, false, 8};
  }
}

void split_small(SmallBlock block, const std::byte* stored, int blocks, RowChunk& out) {
  for (int b = 0; b < blocks; ++b) {
    const std::byte* p = stored + b * block.size;
    out.halves[b] = load16(p);
    p += 2;
    if (block.has_min) {
      out.halves[blocks + b] = load16(p);
      p += 2;
    }
    if (block.has_fifth) {
      out.words[blocks * block.code_words + b] = fifth_bits_to_plane(load32(p));
      p += 4;
    }
    for (int j = 0; j < block.code_words; ++j) out.words[b * block.code_words + j] = load32(p + 4 * j);
  }
}

void join_small(SmallBlock block, const RowChunk& row, int blocks, std::byte* stored) {
  for (int b = 0; b < blocks; ++b) {
    std::byte* p = stored + b * block.size;
    store16(p, row.halves[b]);
    p += 2;
    if (block.has_min) {
      store16(p, row.halves[blocks + b]);
      p += 2;
    }
    if (block.has_fifth) {
      store32(p, fifth_bits_from_plane(row.words[blocks * block.code_words + b]));
      p += 4;
    }
    for (int j = 0; j < block.code_words; ++j) store32(p + 4 * j, row.words[b * block.code_words + j]);
  }
}

// q4_k {d, dmin, scales[12], qs[128]}; q5_k {d, dmin, scales[12], qh[32], qs[128]}. Eight 6-bit scales and
// eight minima share twelve bytes: the first four of each in the low six bits of bytes 0..3 and 4..7, whose
// top two bits and the nibbles of bytes 8..11 hold the others.
void split_scales(const std::byte* stored, uint8_t* scales, uint8_t* minima) {
  uint8_t q[12];
  std::memcpy(q, stored, 12);
  for (int j = 0; j < 4; ++j) {
    scales[j] = q[j] & 63;
    minima[j] = q[j + 4] & 63;
    scales[j + 4] = uint8_t((q[j + 8] & 15) | (q[j] >> 6) << 4);
    minima[j + 4] = uint8_t((q[j + 8] >> 4) | (q[j + 4] >> 6) << 4);
  }
}
void join_scales(const uint8_t* scales, const uint8_t* minima, std::byte* stored) {
  uint8_t q[12];
  for (int j = 0; j < 4; ++j) {
    q[j] = uint8_t(scales[j] | (scales[j + 4] >> 4) << 6);
    q[j + 4] = uint8_t(minima[j] | (minima[j + 4] >> 4) << 6);
    q[j + 8] = uint8_t((scales[j + 4] & 15) | (minima[j + 4] & 15) << 4);
  }
  std::memcpy(stored, q, 12);
}

void split_k45(bool has_fifth, const std::byte* stored, RowChunk& out) {
  out.halves[0] = load16(stored);
  out.halves[1] = load16(stored + 2);
  uint8_t scales[8], minima[8];
  split_scales(stored + 4, scales, minima);
  for (int b = 0; b < 8; ++b) out.bytes[b] = uint8_t((scales[b] & 15) | (minima[b] & 15) << 4);
  for (int i = 0; i < 4; ++i) {
    out.bytes[8 + i] = uint8_t(scales[2 * i] >> 4 | (minima[2 * i] >> 4) << 2 | (scales[2 * i + 1] >> 4) << 4 |
                               (minima[2 * i + 1] >> 4) << 6);
  }
  const std::byte* codes = stored + 16;
  if (has_fifth) {
    for (int block = 0; block < 8; ++block) {  // bit `block` of qh[l] belongs to column l of that block
      uint32_t plane = 0;
      for (int j = 0; j < 8; ++j) plane |= ((load32(codes + 4 * j) >> block) & kLow1) << j;
      out.words[32 + block] = plane;
    }
    codes += 32;
  }
  for (int pair = 0; pair < 4; ++pair) {  // 32 bytes: low nibbles are one block, high nibbles the next
    for (int j = 0; j < 4; ++j) {
      const uint32_t a = load32(codes + 32 * pair + 4 * j), b = load32(codes + 32 * pair + 16 + 4 * j);
      out.words[8 * pair + j] = (a & kLow4) | (b & kLow4) << 4;
      out.words[8 * pair + 4 + j] = ((a >> 4) & kLow4) | (b & ~kLow4);
    }
  }
}

void join_k45(bool has_fifth, const RowChunk& row, std::byte* stored) {
  store16(stored, row.halves[0]);
  store16(stored + 2, row.halves[1]);
  uint8_t scales[8], minima[8];
  for (int b = 0; b < 8; ++b) {
    const int upper = row.bytes[8 + b / 2] >> (4 * (b % 2));
    scales[b] = uint8_t((row.bytes[b] & 15) | (upper & 3) << 4);
    minima[b] = uint8_t(row.bytes[b] >> 4 | (upper >> 2 & 3) << 4);
  }
  join_scales(scales, minima, stored + 4);
  std::byte* codes = stored + 16;
  if (has_fifth) {
    for (int j = 0; j < 8; ++j) {
      uint32_t high = 0;
      for (int block = 0; block < 8; ++block) high |= ((row.words[32 + block] >> j) & kLow1) << block;
      store32(codes + 4 * j, high);
    }
    codes += 32;
  }
  for (int pair = 0; pair < 4; ++pair) {
    for (int j = 0; j < 4; ++j) {
      const uint32_t even = row.words[8 * pair + j], odd = row.words[8 * pair + 4 + j];
      store32(codes + 32 * pair + 4 * j, (even & kLow4) | (odd & kLow4) << 4);
      store32(codes + 32 * pair + 16 + 4 * j, ((even >> 4) & kLow4) | (odd & ~kLow4));
    }
  }
}

// q6_k {ql[128], qh[64], scales[16], d}: each half of 128 columns has 64 bytes of ql, whose low nibbles are
// its blocks 0 and 1 and high nibbles blocks 2 and 3, and 32 bytes of qh with two bits for each block.
void split_k6(const std::byte* stored, RowChunk& out) {
  const std::byte* high = stored + 128;
  for (int block = 0; block < 8; ++block) {
    const int half = block / 4, m = block % 4;
    const std::byte* low = stored + 64 * half + 32 * (m & 1);
    const int shift = 4 * (m >> 1);
    for (int j = 0; j < 4; ++j) {
      const uint32_t a = load32(low + 4 * j) >> shift, b = load32(low + 16 + 4 * j) >> shift;
      out.words[4 * block + j] = (a & kLow4) | (b & kLow4) << 4;
    }
    for (int h = 0; h < 2; ++h) {
      uint32_t plane = 0;
      for (int k = 0; k < 4; ++k) {
        plane |= ((load32(high + 32 * half + 16 * h + 4 * k) >> (2 * m)) & kLow2) << (2 * k);
      }
      out.words[32 + 2 * block + h] = plane;
    }
  }
  std::memcpy(out.bytes, stored + 192, 16);
  out.halves[0] = load16(stored + 208);
}

void join_k6(const RowChunk& row, std::byte* stored) {
  for (int half = 0; half < 2; ++half) {
    for (int odd = 0; odd < 2; ++odd) {
      const uint32_t* low = row.words + 4 * (4 * half + odd);  // high nibbles come from two blocks further on
      std::byte* out = stored + 64 * half + 32 * odd;
      for (int j = 0; j < 4; ++j) {
        store32(out + 4 * j, (low[j] & kLow4) | (low[j + 8] & kLow4) << 4);
        store32(out + 16 + 4 * j, ((low[j] >> 4) & kLow4) | (low[j + 8] & ~kLow4));
      }
    }
    for (int k = 0; k < 8; ++k) {
      uint32_t high = 0;
      for (int m = 0; m < 4; ++m) {
        high |= ((row.words[32 + 2 * (4 * half + m) + k / 4] >> (2 * (k % 4))) & kLow2) << (2 * m);
      }
      store32(stored + 128 + 32 * half + 4 * k, high);
    }
  }
  std::memcpy(stored + 192, row.bytes, 16);
  store16(stored + 208, row.halves[0]);
}

}  // namespace

size_t stored_chunk_size(Layout layout, int blocks) {
  switch (layout) {
    case Layout::q4_k_panel:
      return 144;
    case Layout::q5_k_panel:
      return 176;
    case Layout::q6_k_panel:
      return 210;
    default:
      return size_t(small_block(layout).size) * size_t(blocks);
  }
}

void split_row(Layout layout, const std::byte* stored, int blocks, RowChunk& out) noexcept {
  switch (layout) {
    case Layout::q4_k_panel:
      return split_k45(false, stored, out);
    case Layout::q5_k_panel:
      return split_k45(true, stored, out);
    case Layout::q6_k_panel:
      return split_k6(stored, out);
    default:
      return split_small(small_block(layout), stored, blocks, out);
  }
}

void join_row(Layout layout, const RowChunk& row, int blocks, std::byte* stored) noexcept {
  switch (layout) {
    case Layout::q4_k_panel:
      return join_k45(false, row, stored);
    case Layout::q5_k_panel:
      return join_k45(true, row, stored);
    case Layout::q6_k_panel:
      return join_k6(row, stored);
    default:
      return join_small(small_block(layout), row, blocks, stored);
  }
}

}  // namespace lathe::backend::cpu
