// A verb of the command line: one file in cli/verbs, which defines `const Verb& <file>_verb()`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace lathe::cli {

// What every verb gets: where results, messages and progress go. Libraries below never print.
class Output {
 public:
  explicit Output(bool json, bool quiet) : json_(json), quiet_(quiet) {}

  bool json() const { return json_; }
  void set_json(bool json) { json_ = json; }
  void set_quiet(bool quiet) { quiet_ = quiet; }
  // One object to stdout; only with --json.
  void result(const Json& object) const;
  // Text for people to stdout; nothing with --json.
  void print(std::string_view text) const;
  // To stderr.
  void note(std::string_view text) const;
  LogSink log() const;
  // A bar with bytes and time left on a terminal, nothing elsewhere.
  ProgressSink progress() const;

 private:
  bool json_;
  bool quiet_;
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
