// Places for buffers that live for some steps of a stage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lathe::runtime {

struct ArenaBuffer {
  size_t bytes = 0;
  int64_t begin = 0;  // first and last step that needs it, both included
  int64_t end = 0;
  size_t offset = 0;  // set by place_buffers, a multiple of 64
};

// Gives each buffer its offset so that those that live at one time do not overlap; largest first, lowest hole first.
// Returns the bytes of the whole.
size_t place_buffers(std::vector<ArenaBuffer>& buffers);

}  // namespace lathe::runtime
