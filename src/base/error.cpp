#include "base/error.h"

namespace lathe {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage: return "usage";
    case ErrorCode::invalid_input: return "invalid_input";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::io: return "io";
    case ErrorCode::resource: return "resource";
    case ErrorCode::verification: return "verification";
    case ErrorCode::internal: return "internal";
  }
  return "internal";
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {
  rebuild_what();
}

void Error::add_context(std::string where) {
  context_.insert(context_.begin(), std::move(where));
  rebuild_what();
}

void Error::rebuild_what() {
  what_.clear();
  for (const std::string& where : context_) what_ += where + ": ";
  what_ += message_;
}

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  fail(ErrorCode::internal, "{}:{}: check failed: {}{}{}", file, line, condition, message.empty() ? "" : ": ",
       message);
}

}  // namespace lathe
