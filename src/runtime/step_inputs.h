// Arrays that a session fills before a step.
#pragma once

#include <cstdint>
#include <vector>

namespace lathe::runtime {

// Sized for the capacity.
struct StepInputs {
  std::vector<int64_t> token_ids;       // [tokens]
  std::vector<int64_t> positions;       // [tokens]
  std::vector<int32_t> first_token;     // [sequences + 1]
  std::vector<int32_t> first_position;  // [sequences]
  std::vector<int32_t> block_table;     // [sequences, blocks_per_sequence]
  std::vector<int64_t> output_rows;     // [outputs]
};

}  // namespace lathe::runtime
