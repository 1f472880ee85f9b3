// The one exception type of the program: a code, a message with names and numbers, and where it happened.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lathe {

// What kind of failure it is. `cli/` maps codes to exit codes; nothing else depends on their values.
enum class ErrorCode {
  usage,          // the caller asked for something that cannot be asked
  invalid_input,  // a file, tensor or request is not what it claims to be
  unsupported,    // well formed, but not something this build can do
  not_found,      // a named thing does not exist
  io,             // the operating system refused to read or write
  resource,       // memory, disk space, device
  verification,   // a comparison failed, or a NaN appeared
  internal,       // a bug in Lathe
};

// The name used in JSON output, e.g. "invalid_input".
std::string_view to_string(ErrorCode code);

// Thrown for every failure. Messages are lower case, without a full stop, and give names and numbers.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // Outermost first: {"model.gguf", "layer 3"}.
  const std::vector<std::string>& context() const { return context_; }
  // Adds an outer context; used by with_context.
  void add_context(std::string where);
  // "model.gguf: layer 3: message"
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  void rebuild_what();

  ErrorCode code_;
  std::string message_;
  std::vector<std::string> context_;
  std::string what_;
};

// Throws Error{code, formatted message}.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void fail_check(const char* file, int line, const char* condition, const std::string& message);

// Runs `body`; an Error that leaves it gains `where` as its outermost context.
template <class Body>
decltype(auto) with_context(std::string_view where, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(std::string(where));
    throw;
  }
}

}  // namespace lathe

// A condition that only a bug in Lathe can break; throws ErrorCode::internal with file and line.
// The optional arguments are a fmt format and its values.
#define LATHE_CHECK(condition, ...) \
  ((condition) ? void(0) : ::lathe::fail_check(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)))
