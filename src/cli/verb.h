// A verb of the command line: one file in cli/verbs, which defines `const Verb& <file>_verb()`.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace lathe::cli {

// What a layer counts when it reports progress.
enum class ProgressUnit { bytes, steps };

// What every verb gets: where results, messages and progress go. Libraries below never print. Copies share the
// terminal.
class Output {
 public:
  using Clock = std::chrono::steady_clock;

  // `started`: when the program began.
  Output(bool json, bool quiet, Clock::time_point started = Clock::now());

  bool json() const { return json_; }
  double ms_since_start() const;
  // One object to stdout; only with --json.
  void result(const Json& object) const;
  // Text for people to stdout; nothing with --json.
  void print(std::string_view text) const;
  // Text for people to stdout as it comes, without an end of line; nothing with --json.
  void stream(std::string_view piece) const;
  // To stderr.
  void note(std::string_view text) const;
  LogSink log() const;
  // A line that rewrites itself on a terminal, nothing elsewhere. What is printed meanwhile stands below it.
  ProgressSink progress(ProgressUnit unit = ProgressUnit::bytes) const;
  // Ends the line of progress, if there is one.
  void end_progress() const;

  // What is to happen when the verb ends with a failed verification; main() lets it.
  void if_verification_fails(std::function<void()> action) const;
  void verification_failed() const;

 private:
  struct State;

  bool json_;
  bool quiet_;
  Clock::time_point started_;
  std::shared_ptr<State> state_;  // shared with the sinks, which layers may keep
};

// The exit codes of contracts.md.
enum class Exit : int {
  good = 0,
  failed = 1,
  usage = 2,
  bad_input = 3,
  unsupported = 4,
  no_resources = 5,
  bug = 70,
  interrupted = 130,
};

struct Verb {
  std::string_view name;
  std::string_view description;
  std::string_view example;  // shown by --help
  // Adds options to the subcommand; the function returned runs the verb after parsing. Options live in what it
  // captures.
  std::function<Exit(Output&)> (*add)(CLI::App& command) = nullptr;
};

}  // namespace lathe::cli
