#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "cli/verb.h"

namespace lathe::cli {
namespace {

void write_line(FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  if (text.empty() || text.back() != '\n') std::fputc('\n', stream);
  std::fflush(stream);
}

std::string_view label(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug: ";
    case LogLevel::info: return "";
    case LogLevel::warning: return "warning: ";
  }
  return "";
}

// One line that rewrites itself, at most ten times a second.
class ProgressBar {
 public:
  void show(const Progress& progress) {
    const auto now = Clock::now();
    if (progress.step != step_) {
      step_ = progress.step;
      start_ = now;
    }
    const bool finished = progress.total_bytes > 0 && progress.done_bytes >= progress.total_bytes;
    if (!finished && now - shown_ < std::chrono::milliseconds(100)) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double done = double(progress.done_bytes);
    std::string line = fmt::format("\r{}: {:.1f}", progress.step, done / 1e6);
    if (progress.total_bytes > 0) line += fmt::format(" of {:.1f}", double(progress.total_bytes) / 1e6);
    line += " MB";
    if (progress.total_bytes > 0 && done > 0 && !finished) {
      line += fmt::format(", {:.0f} s left", seconds * (double(progress.total_bytes) / done - 1));
    }
    line += finished ? "\x1b[K\n" : "\x1b[K";
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::string step_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_;
};

}  // namespace

void Output::result(const Json& object) const {
  if (json_) write_line(stdout, object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Output::print(std::string_view text) const {
  if (!json_) write_line(stdout, text);
}

void Output::note(std::string_view text) const {
  if (!quiet_) write_line(stderr, text);
}

LogSink Output::log() const {
  if (quiet_) return null_log();
  return [](LogLevel level, std::string_view text) {
    if (level != LogLevel::debug) write_line(stderr, fmt::format("{}{}", label(level), text));
  };
}

ProgressSink Output::progress() const {
  if (quiet_ || ::isatty(STDERR_FILENO) == 0) return null_progress();
  return [bar = std::make_shared<ProgressBar>()](const Progress& progress) { bar->show(progress); };
}

}  // namespace lathe::cli
