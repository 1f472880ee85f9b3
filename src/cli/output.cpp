#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

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
    case LogLevel::debug:
      return "debug: ";
    case LogLevel::info:
      return "";
    case LogLevel::warning:
      return "warning: ";
  }
  return "";
}

// One line that rewrites itself, at most ten times a second.
class ProgressLine {
 public:
  void show(const Progress& progress, ProgressUnit unit) {
    const Clock::time_point now = Clock::now();
    const uint64_t done = progress.done_bytes, total = progress.total_bytes;
    if (!open_ || done < done_ || total != total_) {  // something else than before
      start_ = now;
      first_ = done;
      shown_ = {};
    }
    const bool other_step = progress.step != step_;
    step_ = progress.step;
    done_ = done;
    total_ = total;
    const bool finished = total > 0 && done >= total;
    if (!finished && !other_step && now - shown_ < std::chrono::milliseconds(100)) return;
    shown_ = now;
    std::string line = "\r" + step_ + amount(unit);
    if (total > 0 && done > first_) {
      const double seconds = std::chrono::duration<double>(now - start_).count(),
                   each = seconds / double(done - first_);
      if (unit == ProgressUnit::steps)
        line += each < 10 ? fmt::format(", {:.0f} ms each", each * 1e3) : fmt::format(", {:.1f} s each", each);
      if (!finished) line += fmt::format(", {:.0f} s left", each * double(total - done));
    }
    write(line + "\x1b[K");
    open_ = true;
    if (finished) end();
  }

  void end() {
    if (!open_) return;
    write("\n");
    open_ = false;
    step_.clear();
  }

 private:
  using Clock = std::chrono::steady_clock;

  // ": 12.3 of 98.0 MB"; nothing where nothing can be counted.
  std::string amount(ProgressUnit unit) const {
    if (unit == ProgressUnit::steps) return total_ > 0 ? fmt::format(" {} {} of {}", bar(), done_, total_) : "";
    const double done = double(done_) / 1e6;
    if (total_ > 0) return fmt::format(": {:.1f} of {:.1f} MB", done, double(total_) / 1e6);
    return fmt::format(": {:.1f} MB", done);
  }
  std::string bar() const {
    constexpr size_t kCells = 20;
    const size_t full = size_t(double(done_) / double(total_) * kCells);
    return fmt::format("[{}{}]", std::string(std::min(full, kCells), '#'),
                       std::string(kCells - std::min(full, kCells), '-'));
  }
  static void write(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  }

  bool open_ = false;
  std::string step_;
  uint64_t first_ = 0, done_ = 0, total_ = 0;
  Clock::time_point start_, shown_;
};

}  // namespace

struct Output::State {
  ProgressLine line;
  std::vector<std::function<void()>> if_failed;
};

Output::Output(bool json, bool quiet, Clock::time_point started)
    : json_(json), quiet_(quiet), started_(started), state_(std::make_shared<State>()) {}

double Output::ms_since_start() const {
  return std::chrono::duration<double, std::milli>(Clock::now() - started_).count();
}

void Output::result(const Json& object) const {
  end_progress();
  if (json_) write_line(stdout, object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Output::print(std::string_view text) const {
  end_progress();
  if (!json_) write_line(stdout, text);
}

void Output::stream(std::string_view piece) const {
  if (json_) return;
  end_progress();
  std::fwrite(piece.data(), 1, piece.size(), stdout);
  std::fflush(stdout);
}

void Output::note(std::string_view text) const {
  if (quiet_) return;
  end_progress();
  write_line(stderr, text);
}

LogSink Output::log() const {
  if (quiet_) return null_log();
  return [state = state_](LogLevel level, std::string_view text) {
    if (level == LogLevel::debug) return;
    state->line.end();
    write_line(stderr, fmt::format("{}{}", label(level), text));
  };
}

ProgressSink Output::progress(ProgressUnit unit) const {
  if (quiet_ || ::isatty(STDERR_FILENO) == 0) return null_progress();
  return [state = state_, unit](const Progress& progress) { state->line.show(progress, unit); };
}

void Output::end_progress() const {
  state_->line.end();
}

void Output::if_verification_fails(std::function<void()> action) const {
  state_->if_failed.push_back(std::move(action));
}

void Output::verification_failed() const {
  for (const auto& action : std::exchange(state_->if_failed, {})) action();
}

}  // namespace lathe::cli
