// Where libraries report what they do: an injected sink, never stdout or stderr.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace lathe {

enum class LogLevel { debug, info, warning };

// Called from one thread at a time. The default sink drops everything.
using LogSink = std::function<void(LogLevel, std::string_view)>;

// How far a long step has come; `total_bytes` is 0 while unknown.
struct Progress {
  std::string step;  // "weights", "verify"
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;
};
using ProgressSink = std::function<void(const Progress&)>;

inline LogSink null_log() {
  return [](LogLevel, std::string_view) {};
}
inline ProgressSink null_progress() {
  return [](const Progress&) {};
}

}  // namespace lathe
