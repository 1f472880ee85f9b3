// What launches of sampling may be. Apart from others: this kernel is no template, and belongs to one file.
#pragma once

#include "backend/cuda/kernels/sample.h"
#include "backend/cuda/library/launch_rules.h"

namespace lathe::backend::cuda {

// What options say is believed: they lie on the device.
inline int32_t check_sample(const LatheCudaSample& call, LatheCudaMessage* message) {
  if (call.sequences < 0 || call.vocabulary < 1 || !call.logits || !call.options || !call.tokens || !call.bad) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "sample: %d sequences, a vocabulary of %d, or null", call.sequences,
                  call.vocabulary);
  }
  if (call.vocabulary > kMostVocabulary) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "sample: a vocabulary of %d, expected %d at the most",
                  call.vocabulary, kMostVocabulary);
  }
  return LATHE_CUDA_OK;
}

}  // namespace lathe::backend::cuda
