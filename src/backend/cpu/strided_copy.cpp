#include "backend/cpu/strided_copy.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/element_types.h"

namespace lathe::backend::cpu {
namespace {

constexpr int64_t kBlock = 16;

// One run of the innermost axis.
template <class T>
void copy_run(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t count) noexcept {
  if (from_stride == 1 && to_stride == 1) {
    std::memcpy(to, from, size_t(count) * sizeof(T));
  } else if (from_stride == 0 && to_stride == 1) {
    std::fill(to, to + count, *from);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * to_stride] = from[i * from_stride];
  }
}

// The two innermost axes where `from` runs along the outer of them: in blocks that the first cache holds.
template <class T>
void copy_plane(const StridedWalk& walk, int64_t rows, const T* from, T* to) noexcept {
  const size_t in = walk.dims.size() - 1, out = in - 1;
  const int64_t columns = walk.dims[in];
  for (int64_t r = 0; r < rows; r += kBlock) {
    const int64_t r_end = std::min(r + kBlock, rows);
    for (int64_t c = 0; c < columns; c += kBlock) {
      const int64_t c_end = std::min(c + kBlock, columns);
      for (int64_t i = r; i < r_end; ++i) {
        for (int64_t j = c; j < c_end; ++j) {
          to[i * walk.to[out] + j * walk.to[in]] = from[i * walk.from[out] + j * walk.from[in]];
        }
      }
    }
  }
}

template <class T>
void copy_all(const StridedWalk& walk, const std::byte* from_bytes, std::byte* to_bytes,
              const TeamMember& member) noexcept {
  const T* from = reinterpret_cast<const T*>(from_bytes);
  T* to = reinterpret_cast<T*>(to_bytes);
  const size_t rank = walk.dims.size();
  const bool plane = rank >= 2 && walk.from[rank - 1] > 1 && walk.from[rank - 2] == 1;
  const size_t outer = rank - (plane ? 2 : 1);
  int64_t runs = 1;
  for (size_t i = 0; i < outer; ++i) runs *= walk.dims[i];
  // Where there are few runs, each of them is shared out.
  const bool few = runs < member.size() * 4;
  const TeamMember::Range inner = few ? member.share(walk.dims[outer], kBlock) : TeamMember::Range{0, walk.dims[outer]};
  const auto [first, last] = few ? TeamMember::Range{0, runs} : member.share(runs);
  from += inner.begin * walk.from[outer];
  to += inner.begin * walk.to[outer];
  const int64_t length = inner.end - inner.begin;
  for (int64_t run = first; run < last; ++run) {
    int64_t rest = run, from_at = 0, to_at = 0;
    for (size_t i = outer; i-- > 0;) {
      const int64_t index = rest % walk.dims[i];
      rest /= walk.dims[i];
      from_at += index * walk.from[i];
      to_at += index * walk.to[i];
    }
    if (plane) {
      copy_plane(walk, length, from + from_at, to + to_at);
    } else {
      copy_run(from + from_at, walk.from[rank - 1], to + to_at, walk.to[rank - 1], length);
    }
  }
}

}  // namespace

void copy_share(const StridedWalk& walk, size_t element, const std::byte* from, std::byte* to,
                const TeamMember& member) noexcept {
  if (walk.count == 0) return;
  with_element(element, [&](auto zero) { copy_all<decltype(zero)>(walk, from, to, member); });
}

}  // namespace lathe::backend::cpu
