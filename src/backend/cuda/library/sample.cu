// Launches of sample and look_up_blocks: both ends of a step.
#include "backend/cuda/library/block_launch_rules.h"
#include "backend/cuda/library/library.h"
#include "backend/cuda/library/sample_launch_rules.h"

namespace lathe::backend::cuda {

int32_t launch_look_up_blocks(LatheCudaStream* stream, const LatheCudaLookUpBlocks* call,
                              LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "look_up_blocks: null");
  if (const int32_t status = check_look_up_blocks(*call, message)) return status;
  if (call->count == 0) return LATHE_CUDA_OK;
  const LookUpBlocks arguments = {call->rows, static_cast<const uint8_t*>(call->table), call->y, call->columns};
  return with_format(call->format, [&](auto shape) {
    return launch("look_up_blocks", look_up_blocks<decltype(shape)>, dim3(unsigned(call->count)), kLookUpThreads, 0,
                  *stream, arguments, message);
  });
}

int32_t launch_sample(LatheCudaStream* stream, const LatheCudaSample* call, LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "sample: null");
  if (const int32_t status = check_sample(*call, message)) return status;
  if (call->sequences == 0) return LATHE_CUDA_OK;
  Sample arguments{};
  arguments.logits = call->logits;
  arguments.vocabulary = call->vocabulary;
  arguments.shift = mass_shift(call->vocabulary);
  arguments.options = call->options;
  arguments.edits = call->edits;
  arguments.tokens = call->tokens;
  arguments.bad = call->bad;
  return launch("sample", sample, dim3(unsigned(call->sequences)), kSampleThreads, 0, *stream, arguments, message);
}

}  // namespace lathe::backend::cuda
