// libFuzzer entry: any text is settings, and what they are written as is read back; any text is a prompt, or an Error.
#include <cstdint>

#include "base/error.h"
#include "pipeline/diffuse/prompt.h"
#include "pipeline/diffuse/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    pipeline::write_settings(pipeline::read_settings(text));
    if (pipeline::parse_prompt(text).empty()) __builtin_trap();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
