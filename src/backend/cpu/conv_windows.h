// The windows that a convolution's kernel sees of a channels-last value, as rows for tiles of products: numbers of f32
// or bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

constexpr int kWindowAxes = 3;  // spatial axes; fewer are filled up with ones in front
constexpr int64_t kMaxTaps = 1024;
constexpr int64_t kGatherChannels = 16;  // taps of fewer are gathered to one long row

struct ConvWindows {
  int64_t batch, group;
  int64_t channels, features;  // of one group
  int64_t lengths[kWindowAxes], counts[kWindowAxes], kernel[kWindowAxes], strides[kWindowAxes], dilations[kWindowAxes],
      begins[kWindowAxes];
  int64_t positions;  // of the output, all images
  int64_t taps;
  bool matrix;  // one tap that sees each position in turn

  int64_t all_channels() const { return channels * group; }
  int64_t all_features() const { return features * group; }
  int64_t columns() const { return taps * channels; }
};
// x [N, C, spatial...], w [M, C / group, kernel...], of an instruction with the attributes of Conv.
ConvWindows conv_windows(const Problem& problem, const ProblemValue& x, const ProblemValue& w);

// An output position: its image and where its window begins in the input.
struct WindowPosition {
  int64_t image;
  int64_t index[kWindowAxes];  // in the output
  int64_t start[kWindowAxes];
};

inline WindowPosition position_of(const ConvWindows& p, int64_t number) noexcept {
  WindowPosition position;
  for (int i = kWindowAxes; i-- > 0;) {
    position.index[i] = number % p.counts[i];
    position.start[i] = position.index[i] * p.strides[i] - p.begins[i];
    number /= p.counts[i];
  }
  position.image = number;
  return position;
}

// The one after it, without a division.
inline WindowPosition next_position(const ConvWindows& p, const WindowPosition& at) noexcept {
  WindowPosition position = at;
  for (int i = kWindowAxes; i-- > 0;) {
    position.start[i] += p.strides[i];
    if (++position.index[i] < p.counts[i]) return position;
    position.index[i] = 0;
    position.start[i] = -p.begins[i];
  }
  ++position.image;
  return position;
}

// Whether the window sees no padding.
inline bool is_inside(const ConvWindows& p, const WindowPosition& at) noexcept {
  for (int i = 0; i < kWindowAxes; ++i) {
    if (at.start[i] < 0 || at.start[i] + (p.kernel[i] - 1) * p.dilations[i] >= p.lengths[i]) return false;
  }
  return true;
}

// Where the window sees for tap (z, y, x), or nullptr in the padding.
template <class T>
const T* tap_address(const ConvWindows& p, const WindowPosition& at, const T* x,
                     const int64_t (&tap)[kWindowAxes]) noexcept {
  int64_t offset = at.image;
  for (int i = 0; i < kWindowAxes; ++i) {
    const int64_t index = at.start[i] + tap[i] * p.dilations[i];
    if (uint64_t(index) >= uint64_t(p.lengths[i])) return nullptr;
    offset = offset * p.lengths[i] + index;
  }
  return x + offset * p.all_channels();
}

constexpr int64_t kMaxWindows = 32;  // that are looked for at once

// rows[tap * count + r] for the windows at `positions`; `padding` is a row of what stands beyond the edge. Windows that
// see no padding see each tap at the same distance from their first one.
template <class T>
void find_rows(const ConvWindows& p, const WindowPosition* positions, int64_t count, const T* x, const T* padding,
               const T** rows) noexcept {
  constexpr int64_t kFirst[kWindowAxes] = {};
  const T* first[kMaxWindows];  // nullptr: sees padding
  for (int64_t r = 0; r < count; ++r) {
    first[r] = is_inside(p, positions[r]) ? tap_address(p, positions[r], x, kFirst) : nullptr;
  }
  const int64_t pitch = p.all_channels();
  int64_t tap[kWindowAxes];
  for (tap[0] = 0; tap[0] < p.kernel[0]; ++tap[0]) {
    for (tap[1] = 0; tap[1] < p.kernel[1]; ++tap[1]) {
      const int64_t line = (tap[0] * p.dilations[0] * p.lengths[1] + tap[1] * p.dilations[1]) * p.lengths[2];
      for (tap[2] = 0; tap[2] < p.kernel[2]; ++tap[2], rows += count) {
        const int64_t offset = (line + tap[2] * p.dilations[2]) * pitch;
        for (int64_t r = 0; r < count; ++r) {
          const T* address = first[r] ? first[r] + offset : tap_address(p, positions[r], x, tap);
          rows[r] = address ? address : padding;
        }
      }
    }
  }
}

template <class T>
constexpr int64_t kGatherChunk = sizeof(T) == 1 ? 32 : 16;  // elements that are copied at once, the last ones in vain

// One line of the kernel (its innermost axis) as the window sees it. `end`: of all of x. Writes up to a chunk behind
// what it fills.
template <class T>
void gather_line(const ConvWindows& p, const T* line, const T* end, int64_t start, T padding, T* out) noexcept {
  constexpr int64_t kChunk = kGatherChunk<T>;
  const int64_t taps = p.kernel[2], step = p.dilations[2], channels = p.channels, pitch = p.all_channels();
  const bool inside = start >= 0 && start + (taps - 1) * step < p.lengths[2];
  if (inside && step == 1 && channels == pitch) {
    const T* from = line + start * channels;
    const int64_t count = taps * channels;
    if (from + count + kChunk <= end) {
      for (int64_t i = 0; i < count; i += kChunk) std::memcpy(out + i, from + i, size_t(kChunk) * sizeof(T));
    } else {
      std::copy(from, from + count, out);
    }
    return;
  }
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t at = start + t * step;
    const bool there = at >= 0 && at < p.lengths[2];
    for (int64_t c = 0; c < channels; ++c) *out++ = there ? line[at * pitch + c] : padding;
  }
}

// The taps of each window one after another in gathered[r * pitch]: one tap of many columns. x is that of a group.
template <class T>
void gather_rows(const ConvWindows& p, const WindowPosition* positions, int64_t count, const T* x, const T* end,
                 T padding, int64_t pitch, T* gathered, const T** rows) noexcept {
  const int64_t line = p.kernel[2] * p.channels;
  for (int64_t r = 0; r < count; ++r) {
    const WindowPosition& position = positions[r];
    T* out = gathered + r * pitch;
    rows[r] = out;
    for (int64_t z = 0; z < p.kernel[0]; ++z) {
      const int64_t iz = position.start[0] + z * p.dilations[0];
      for (int64_t y = 0; y < p.kernel[1]; ++y, out += line) {
        const int64_t iy = position.start[1] + y * p.dilations[1];
        if (iz < 0 || iz >= p.lengths[0] || iy < 0 || iy >= p.lengths[1]) {
          std::fill(out, out + line, padding);
          continue;
        }
        const int64_t first = ((position.image * p.lengths[0] + iz) * p.lengths[1] + iy) * p.lengths[2];
        gather_line(p, x + first * p.all_channels(), end, position.start[2], padding, out);
      }
    }
  }
}

// Panels in runs of nearly equal length.
struct PanelRun {
  int64_t first, count;
};
inline PanelRun panel_run(int64_t panels, int64_t run, int64_t runs) noexcept {
  const int64_t first = panels * run / runs;
  return {first, panels * (run + 1) / runs - first};
}

}  // namespace lathe::backend::cpu
