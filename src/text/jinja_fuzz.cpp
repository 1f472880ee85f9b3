// Input: a chat template.
#include <cstdint>
#include <string>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  static const Json kMessages = Json::parse(
      R"([{"role":"system","content":" be kind "},{"role":"user","content":"hi"},{"role":"assistant","content":null,
          "tool_calls":[{"function":{"name":"f","arguments":{"x":[1,2.5,true]}}}]}])");
  try {
    text::ChatTemplate(std::string(reinterpret_cast<const char*>(data), size)).render(kMessages, {});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
