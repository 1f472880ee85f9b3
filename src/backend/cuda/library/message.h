// Messages of the ABI: printf into what the caller gave, and the status to return.
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "backend/cuda/abi.h"

namespace lathe::backend::cuda {

[[gnu::format(printf, 3, 4)]] inline int32_t refuse(LatheCudaMessage* message, int32_t status, const char* format,
                                                    ...) {
  if (message) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message->text, sizeof message->text, format, arguments);
    va_end(arguments);
  }
  return status;
}

}  // namespace lathe::backend::cuda
