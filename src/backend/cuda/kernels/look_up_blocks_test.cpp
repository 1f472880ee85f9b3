#include "backend/cuda/kernels/look_up_blocks.h"

#include <gtest/gtest.h>

#include "backend/cuda/kernels/blocks_testing.h"

namespace lathe::backend::cuda {
namespace {

using emulated::Buffer;

// The bits that the format's definition gives.
TEST(LookUpBlocks, GivesRowsAsTheyAreDefined) {
  for (const char* line :
       {"parts=q4_0,q4_1,q5_0,q5_1,q8_0 rows=19 columns=32,224,256", "parts=q4_k,q5_k,q6_k rows=19 columns=256,768"}) {
    for (const cpu::LinearProblem& problem : cpu::expand_line(line)) {
      SCOPED_TRACE(problem.text);
      const auto source = cpu::random_weights(problem.layouts[0], 19, problem.columns, 3);
      Buffer<uint8_t> table = packed_weights(*source, "table");
      const std::vector<int64_t> wanted = {18, 0, 7, 8, 7};
      Buffer<int64_t> rows("rows", wanted);
      Buffer<float> y("y", wanted.size() * size_t(problem.columns));
      LookUpBlocks call{};
      call.rows = rows;
      call.table = table;
      call.y = y;
      call.columns = int(problem.columns);
      emulated::launch({"look_up_blocks", {unsigned(wanted.size())}, {kLookUpThreads}, 0, 1}, [&] {
        with_shape(problem.layouts[0], [&](auto shape) { look_up_blocks<decltype(shape)>(call); });
      });
      std::vector<float> expected(size_t(problem.columns));
      for (size_t i = 0; i < wanted.size(); ++i) {
        source->read_rows_f32(wanted[i], 1, expected);
        for (size_t c = 0; c < expected.size(); ++c) ASSERT_EQ(y.elements()[i * expected.size() + c], expected[c]) << c;
      }
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
