// A kernel that is wrong nowhere but where the machine is: what `lathe doctor` launches to see that kernels run.
#pragma once

#include "backend/cuda/kernel.h"

namespace lathe::backend::cuda {

constexpr int kSelfTestThreads = 128;

struct SelfTest {
  Global<uint32_t> out;  // [count]
  int count;
};

// What element `i` must become: the sum over its warp of (lane + 1) times something of its own block.
constexpr uint32_t self_test_value(int i) {
  return 528u * uint32_t(i / kSelfTestThreads + 3) + uint32_t(i);
}

// Blocks: x of kSelfTestThreads elements.
LATHE_KERNEL void self_test(SelfTest call) {
  LATHE_SHARED(uint32_t, factor, 1);
  if (thread() == 0) factor[0] = uint32_t(block_x()) + 3;
  sync_block();
  uint32_t sum = (lane() + 1) * uint32_t(factor[0]);
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) sum += shuffle_xor(sum, lanes);
  const int i = int(block_x()) * kSelfTestThreads + int(thread());
  if (i < call.count) call.out[i] = sum + uint32_t(i);
}

}  // namespace lathe::backend::cuda
